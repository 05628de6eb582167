// What a benchmark says: the targets with what was measured, as a table for people.

import type { Measurements } from './run.ts';
import { median } from './statistics.ts';
import { isMet, TARGETS, type Target } from './targets.ts';

export interface Result {
  readonly target: Target;
  /** The middle one of the runs. */
  readonly measured: number;
  /** Of each run. */
  readonly each: readonly number[];
  readonly met: boolean;
}

/** Of each target that was measured, the median of the runs. */
export function resultsOf(runs: readonly Measurements[]): Result[] {
  return TARGETS.flatMap((target) => {
    const each = runs.map((run) => target.measured(run)).filter((value) => value !== undefined);
    if (each.length === 0) return [];
    const measured = median(each);
    return [{ target, measured, each, met: isMet(target, measured) }];
  });
}

export function table(results: readonly Result[]): string {
  const rows = results.map((result) => `| ${cellsOf(result).join(' | ')} |`);
  return ['| | What | Target | Measured |', '|---|---|---|---|', ...rows].join('\n');
}

/** Whether it is met, what it is, its bound, and what was measured. */
export function cellsOf({ target, measured, met }: Result): string[] {
  const unit = target.unit ? ` ${target.unit}` : '';
  const bound = `${target.better === 'more' ? '≥' : '≤'} ${target.bound}${unit}`;
  return [met ? '✓' : '✗', target.what, bound, `${short(measured)}${unit}`];
}

export function short(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}
