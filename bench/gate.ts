// Has something become slower by a factor of two? Ratios are compared with recorded ones; times never are.
import type { Result } from './report.ts';

/**
 * Ratios within one run, and steadier than the rest: tails of latencies and what waits for the disk differ by more than two
 * on a machine that does other things too.
 */
const COMPARED: ReadonlySet<string> = new Set([
  'drain-floor',
  'drain-10ms',
  'cpu-floor',
  'trigger-copy',
  'trigger-bulk',
]);

/** What a ratio may lose before somebody must look: a noisy machine takes less, a factor of two is more. */
const TOLERANCE = 1.8;

/** By the target's id, what was measured on a quiet machine. */
export type Recorded = Readonly<Record<string, number>>;

export function toRecord(results: readonly Result[]): Recorded {
  const compared = results.filter(({ target }) => COMPARED.has(target.id));
  return Object.fromEntries(compared.map(({ target, measured }) => [target.id, Number(measured.toPrecision(3))]));
}

/** A sentence for each loss; none when all is as it was, or better. */
export function againstRecorded(results: readonly Result[], recorded: Recorded): string[] {
  return results.flatMap(({ target, measured }) => {
    const before = recorded[target.id];
    if (before === undefined) return [];
    const loss = target.better === 'more' ? before / measured : measured / before;
    if (loss <= TOLERANCE) return [];
    return [
      `${target.what}: ${measured.toPrecision(3)}, and it was ${before.toPrecision(3)}. If that is meant, record it: npm run bench -- --short --runs 3 --record`,
    ];
  });
}
