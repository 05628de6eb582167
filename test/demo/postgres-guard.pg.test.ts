// Whenever the process that started an embedded PostgreSQL is killed, nothing of it is left: no process, no directory.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const STARTER = `
  const { startEmbeddedPostgres } = await import(${JSON.stringify(new URL('../../demo/embedded-postgres.ts', import.meta.url).href)});
  console.log('starting');
  console.log((await startEmbeddedPostgres({ fsync: false })).pid);
  setInterval(() => {}, 1000);`;

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'guard-test-'));
  // Where this runs as root, the server runs as another account, and must come through.
  chmodSync(folder, 0o755);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** The files of the server's directory, '' before there is one. */
function files(): string[] {
  const [home] = readdirSync(folder);
  return home === undefined ? [] : readdirSync(join(folder, home), { recursive: true }).map(String);
}

test.each([
  ['as soon as there is a directory', () => readdirSync(folder).length > 0],
  ['while initdb works', () => files().includes('data/global')],
  ['while the server starts', () => files().includes('data/postmaster.pid')],
])('nothing is left when the starter is killed %s', async (_, isTime) => {
  const starter = spawn(process.execPath, ['--input-type=module', '-e', STARTER], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await expect.poll(isTime, { timeout: 60_000, interval: 1 }).toBe(true);
  starter.kill('SIGKILL');
  await once(starter, 'exit');
  await expect.poll(() => readdirSync(folder), { timeout: 30_000 }).toEqual([]);
});

test('nothing is left when the starter is killed with the server up', async () => {
  const starter = spawn(process.execPath, ['--input-type=module', '-e', STARTER], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  starter.stdout.on('data', (chunk) => (output += chunk));
  await expect.poll(() => output, { timeout: 60_000 }).toMatch(/starting\n\d+\n/);
  const pid = Number(output.split('\n')[1]);
  starter.kill('SIGKILL');
  await expect.poll(() => readdirSync(folder), { timeout: 30_000 }).toEqual([]);
  await expect.poll(() => isServer(pid), { timeout: 30_000 }).toBe(false);
});

/** A process that has ended may wait as a zombie for whoever adopted it. */
function isServer(pid: number): boolean {
  if (!existsSync('/proc')) return isRunning(pid);
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('postgres');
  } catch {
    return false;
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
