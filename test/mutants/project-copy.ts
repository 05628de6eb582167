// A copy of the project, to be broken: the files of the working tree, beside the same node_modules.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { type Mutant, mutate } from './mutant.ts';

const PROJECT = join(import.meta.dirname, '../..');
const LEFT_OUT = new Set(['.git', 'node_modules', '.env']);

export interface Ended {
  /** Null when it was stopped because it took too long. */
  readonly status: number | null;
  readonly output: string;
}

export class ProjectCopy {
  readonly #folder = mkdtempSync(join(tmpdir(), 'fhir-connector-mutant-'));
  #running: number | null = null;

  constructor() {
    // The embedded PostgreSQL may run under an account of its own, which has to get in.
    chmodSync(this.#folder, 0o755);
    cpSync(PROJECT, this.#folder, { recursive: true, filter: (source) => !LEFT_OUT.has(basename(source)) });
    symlinkSync(join(PROJECT, 'node_modules'), join(this.#folder, 'node_modules'));
  }

  path(file: string): string {
    return join(this.#folder, file);
  }

  /** Puts the bug in and returns what takes it out again. Throws a Misfit, with nothing changed, where it does not fit. */
  break(mutant: Mutant): () => void {
    const originals = new Map(mutant.edits.map(({ file }) => [file, readFileSync(this.path(file), 'utf8')]));
    const mutated = [...originals].map(([file, text]) => [file, mutate(mutant, file, text)] as const);
    for (const [file, text] of mutated) writeFileSync(this.path(file), text);
    return () => {
      for (const [file, text] of originals) writeFileSync(this.path(file), text);
    };
  }

  /** Runs a script of node_modules in the copy, for so long at most (milliseconds). */
  async run(timeoutMs: number, script: string, ...args: string[]): Promise<Ended> {
    const child = spawn(process.execPath, [join('node_modules', script), ...args], {
      cwd: this.#folder,
      // A container would have to be started for each mutant, and other versions of PostgreSQL are not copied.
      env: { ...process.env, TEST_POSTGRES: 'embedded', EMBEDDED_POSTGRES: undefined, NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, so that its workers end with it.
      detached: true,
    });
    this.#running = child.pid ?? null;
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (output += text));
    let late = false;
    const deadline = setTimeout(() => {
      late = true;
      this.stop();
    }, timeoutMs);
    const [status] = (await once(child, 'close')) as [number | null];
    clearTimeout(deadline);
    // A red test may leave processes behind.
    this.stop();
    this.#running = null;
    return { status: late ? null : status, output };
  }

  /** Ends what runs in the copy. */
  stop(): void {
    if (this.#running === null) return;
    try {
      process.kill(-this.#running, 'SIGKILL');
    } catch (error) {
      // All of them have ended by themselves.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
