// How `npm run demo:sql` finds the demonstration that runs: a private file in its PostgreSQL's directory, gone when it is.

import { lstat, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOME_PREFIX } from './embedded-postgres.ts';

export interface RunningDemo {
  /** Process id of the demonstration. */
  readonly pid: number;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

const FILE = 'demo.json';

export async function publishDemo(home: string, demo: RunningDemo): Promise<void> {
  await writeFile(join(home, FILE), JSON.stringify(demo), { mode: 0o600 });
}

/** This user's demonstrations, whatever others run on the machine. */
export async function runningDemos(): Promise<RunningDemo[]> {
  const homes = (await readdir(tmpdir())).filter((name) => name.startsWith(HOME_PREFIX));
  const found = await Promise.all(homes.map((home) => readOwn(join(tmpdir(), home, FILE))));
  return found.filter((demo) => demo !== null).filter(({ pid }) => isRunning(pid));
}

async function readOwn(path: string): Promise<RunningDemo | null> {
  try {
    const stat = await lstat(path);
    // The temporary directory is everybody's: what another user put there is no place to send SQL to.
    if (!stat.isFile() || (process.getuid !== undefined && stat.uid !== process.getuid())) return null;
    return JSON.parse(await readFile(path, 'utf8')) as RunningDemo;
  } catch {
    // Not a demonstration's directory (the tests' servers have such directories too), not ours, or just being removed.
    return null;
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
