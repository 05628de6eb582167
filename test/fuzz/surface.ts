// A surface: what reaches the connector from outside, and what must hold whatever it is. Checked for some runs or for some time.
import fc from 'fast-check';

/** What the surface needs has been started. */
export interface Opened {
  readonly property: fc.IRawProperty<unknown>;
  close(): Promise<void>;
}

export interface Surface {
  readonly name: string;
  /** One run is a process, a database or some seconds, and not microseconds. */
  readonly slow?: true;
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

export function propertyOf<T>(inputs: fc.Arbitrary<T>, holds: (input: T) => void | Promise<void>): Opened['property'] {
  return fc.asyncProperty(inputs, async (input) => await holds(input)) as fc.IRawProperty<unknown>;
}

/** The first failure ends it, with its smallest counterexample. */
export async function check(surface: Surface, { seed, runs, seconds, path }: Limits): Promise<Checked> {
  const { property, close } = await surface.open();
  try {
    const details = await fc.check(property, {
      seed,
      numRuns: runs,
      interruptAfterTimeLimit: seconds * 1000,
      ...(path !== undefined && { path }),
    });
    return {
      runs: details.numRuns,
      seed,
      failure:
        details.counterexample === null
          ? null
          : {
              path: details.counterexamplePath ?? '',
              counterexample: shown(details.counterexample),
              error: textOf(details.errorInstance),
            },
    };
  } finally {
    await close();
  }
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
