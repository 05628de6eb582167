// A surface: what reaches the connector from outside, and what must hold whatever it is. Checked for some runs or for some time.
import fc from 'fast-check';

/** What the surface needs has been started. */
export interface Opened {
  readonly inputs: fc.Arbitrary<unknown>;
  /** Throws, or rejects, where it does not hold. */
  holds(input: unknown): void | Promise<void>;
  close(): Promise<void>;
}

export function opened<T>(
  inputs: fc.Arbitrary<T>,
  holds: (input: T) => void | Promise<void>,
  close: () => Promise<void> = async () => undefined,
): Opened {
  return { inputs, holds: (input) => holds(input as T), close };
}

export interface Surface {
  readonly name: string;
  open(): Promise<Opened>;
}

export interface Limits {
  readonly seed: number;
  readonly runs: number;
  /** No run is begun after it. */
  readonly seconds: number;
  /** Where a run that failed stood, as it was printed: that one is repeated. */
  readonly path?: string | undefined;
}

export interface Checked {
  readonly runs: number;
  readonly seed: number;
  readonly failure: { readonly path: string; readonly counterexample: string; readonly error: string } | null;
}

/** The first failure ends it, with its smallest counterexample. */
export async function check(surface: Surface, { seed, runs, seconds, path }: Limits): Promise<Checked> {
  const { inputs, holds, close } = await surface.open();
  let last: { readonly input: unknown; readonly over: Promise<void> } | null = null;
  const run = async (input: unknown) => {
    const over = (async () => await holds(input))();
    last = { input, over };
    await over;
  };
  try {
    const details = await fc.check(fc.asyncProperty(inputs, run), {
      seed,
      numRuns: runs,
      interruptAfterTimeLimit: seconds * 1000,
      ...(path !== undefined && { path }),
    });
    if (details.counterexample !== null)
      return { runs: details.numRuns, seed, failure: failureOf(details.counterexample[0], details) };
    // fast-check does not wait for the run in which the time was up: that one may hang.
    const unfinished = last as { readonly input: unknown; readonly over: Promise<void> } | null;
    const error = await unfinished?.over.then(
      () => null,
      (reason: unknown) => reason,
    );
    const failure = error ? failureOf(unfinished?.input, { counterexamplePath: null, errorInstance: error }) : null;
    return { runs: details.numRuns, seed, failure };
  } finally {
    await close();
  }
}

function failureOf(
  input: unknown,
  { counterexamplePath, errorInstance }: { counterexamplePath: string | null; errorInstance: unknown },
): NonNullable<Checked['failure']> {
  return { path: counterexamplePath ?? '', counterexample: shown(input), error: textOf(errorInstance) };
}

export function repeatOf(name: string, { seed, failure }: Checked): string {
  return `npm run fuzz -- --only ${name} --seed ${seed}${failure?.path ? ` --path ${failure.path}` : ''}`;
}

function shown(counterexample: unknown): string {
  try {
    return fc.stringify(counterexample);
  } catch {
    return '(nested too deeply to be shown)';
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
