// The connector as a process of its own, with what it uses of the machine; its log goes to a file, as a container's does.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import packageJson from '../package.json' with { type: 'json' };
import { type Shard, WHOLE } from '../src/shard.ts';
import { connectorEnvironment, type DatabaseTarget } from '../test/support/connector.ts';
import { now } from './clock.ts';
import { cpuSeconds, peakMB } from './usage.ts';

const START_MS = 30_000;
/** As the image runs it, with its modules compiled before; Dockerfile has the reasons. */
const ALLOCATOR = { MALLOC_ARENA_MAX: '1' };
const FLAGS = packageJson.scripts.start.split(' ').filter((word) => word.startsWith('--'));
const CACHE = join(tmpdir(), 'fhir-connector-bench-cache');

interface StartOptions {
  /** Folder in which it leaves a CPU profile when it ends. */
  readonly profileTo?: string | undefined;
  readonly shard?: Shard;
}

export class Connector {
  /** By `now`. */
  readonly startedAt = now();
  readonly #folder = mkdtempSync(join(tmpdir(), 'fhir-connector-bench-'));
  readonly #child;
  readonly #end = () => {
    this.#child.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  };

  private constructor(environment: Record<string, string>, flags: readonly string[]) {
    const log = openSync(join(this.#folder, 'log'), 'w');
    this.#child = spawn(process.execPath, [...FLAGS, ...flags, 'src/main.ts', 'run'], {
      env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: CACHE, ...ALLOCATOR, ...environment },
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    process.once('exit', this.#end);
  }

  /** Returns at once; `width` is FHIR_CONCURRENCY. */
  static start(
    database: DatabaseTarget,
    fhirUrl: string,
    width: number,
    { profileTo, shard = WHOLE }: StartOptions = {},
  ): Connector {
    const environment = {
      ...connectorEnvironment(database, fhirUrl),
      FHIR_CONCURRENCY: String(width),
      SHARD_COUNT: String(shard.count),
      SHARD_INDEX: String(shard.index),
      RETENTION_DAYS: '0',
    };
    return new Connector(environment, profileTo ? ['--cpu-prof', `--cpu-prof-dir=${profileTo}`] : []);
  }

  /** Resolves when it streams. */
  streaming(): Promise<void> {
    return this.#says('"msg":"Streaming."');
  }

  /** Resolves when it waits for another one's slot. */
  standingBy(): Promise<void> {
    return this.#says('standing by to take over');
  }

  async #says(text: string): Promise<void> {
    const deadline = performance.now() + START_MS;
    while (!this.log().includes(text)) {
      if (this.#child.exitCode !== null || performance.now() > deadline) {
        throw new Error(`The connector does not say ${text}:\n${this.log().slice(-2000)}`);
      }
      await delay(20);
    }
  }

  log(): string {
    return readFileSync(join(this.#folder, 'log'), 'utf8');
  }

  /** Since its start, in seconds. */
  get cpuSeconds(): number {
    return cpuSeconds(this.#pid);
  }

  get peakMB(): number {
    return peakMB(this.#pid);
  }

  stop(): Promise<void> {
    return this.#endBy('SIGTERM');
  }

  kill(): Promise<void> {
    return this.#endBy('SIGKILL');
  }

  async #endBy(signal: NodeJS.Signals): Promise<void> {
    const exited = once(this.#child, 'exit');
    const { exitCode, signalCode } = this.#child;
    if (exitCode === null && signalCode === null && this.#child.kill(signal)) await exited;
    process.off('exit', this.#end);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #pid(): number {
    if (this.#child.pid === undefined) throw new Error('The connector was not started.');
    return this.#child.pid;
  }
}
