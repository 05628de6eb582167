// The connector as users run it, `node src/main.ts run` with its configuration in the environment, as a child process.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from './ports.ts';

interface LogLine {
  readonly level?: number;
  readonly msg: string;
  readonly reason?: string;
  readonly metricsPort?: number;
}

export interface Connector {
  readonly pid: number;
  readonly metricsPort: number;
  /** Aborted when the process has ended, with an error that says what it last wrote. */
  readonly ended: AbortSignal;
  /** As an orchestrator stops it: SIGTERM, and SIGKILL if it has not ended after 15 seconds. */
  stop(): Promise<void>;
}

const PINO_WARN = 40;
const KEPT_LINES = 20;
/** Slot and catch-up take a second or two; machines that are busy with other things take longer. */
const START_TIMEOUT_MS = 60_000;

/** Resolves when it streams; rejects with a sentence when it ends before. `tell` gets its later warnings and errors. */
export async function startConnector(
  environment: Readonly<Record<string, string>>,
  preferredMetricsPort: number,
  tell: (warning: string) => void,
): Promise<Connector> {
  const metrics = { METRICS_HOST: '127.0.0.1', METRICS_PORT: String(await freePort(preferredMetricsPort)) };
  const root = join(import.meta.dirname, '..');
  const child = spawn(
    process.execPath,
    ['--import', new URL('./end-with-parent.ts', import.meta.url).href, 'src/main.ts', 'run'],
    {
      cwd: root,
      env: { PATH: process.env.PATH, ...environment, ...metrics },
      stdio: ['pipe', 'pipe', 'pipe'],
      // Ctrl-C in a terminal goes to the whole process group: this process stops the connector when its turn has come.
      detached: true,
    },
  );
  const said: string[] = [];
  let streams = false;
  const starting = Promise.withResolvers<number>();
  const streaming = Promise.withResolvers<void>();
  const ended = new AbortController();
  const keep = (line: string) => {
    said.push(line);
    if (said.length > KEPT_LINES) said.shift();
  };
  createInterface({ input: child.stderr }).on('line', keep);
  createInterface({ input: child.stdout }).on('line', (text) => {
    keep(text);
    const line = parse(text);
    if (streams && (line.level ?? 0) >= PINO_WARN)
      tell([line.msg, ...(line.reason === undefined ? [] : [line.reason])].join(': '));
    if (line.metricsPort !== undefined) starting.resolve(line.metricsPort);
    if (line.msg === 'Streaming.') {
      streams = true;
      streaming.resolve();
    }
  });
  const closed = once(child, 'close').then(([status, signal]) => {
    const error = new Error(
      `The connector ended (${signal ?? `status ${status}`}). It wrote last:\n${said.join('\n')}`,
    );
    ended.abort(error);
    starting.reject(error);
    streaming.reject(error);
  });
  const deadline = setTimeout(() => {
    streaming.reject(new Error(`The connector does not stream. It wrote last:\n${said.join('\n')}`));
  }, START_TIMEOUT_MS);
  const stop = async () => {
    const kill = setTimeout(() => child.kill('SIGKILL'), 15_000);
    child.kill('SIGTERM');
    await closed;
    clearTimeout(kill);
  };
  try {
    const [metricsPort] = await Promise.all([starting.promise, streaming.promise]);
    return { pid: child.pid ?? 0, metricsPort, ended: ended.signal, stop };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    clearTimeout(deadline);
  }
}

function parse(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { msg: line };
  }
}
