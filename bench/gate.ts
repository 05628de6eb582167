// Has something become slower by a factor of two? Ratios are compared with recorded ones; times never are.
import type { Result } from './report.ts';

/** What a ratio may lose before somebody must look: a noisy machine takes less, a factor of two is more. */
const TOLERANCE = 1.8;

/** By the target's id, what was measured on a quiet machine. */
export type Recorded = Readonly<Record<string, number>>;

/** A sentence for each loss; none when all is as it was, or better. */
export function againstRecorded(results: readonly Result[], recorded: Recorded): string[] {
  return results.flatMap(({ target, measured }) => {
    const before = recorded[target.id];
    if (before === undefined) return [];
    const loss = target.better === 'more' ? before / measured : measured / before;
    if (loss <= TOLERANCE) return [];
    return [
      `${target.what}: ${measured.toPrecision(3)}, and it was ${before.toPrecision(3)}. If that is meant, record it in bench/recorded.json.`,
    ];
  });
}
