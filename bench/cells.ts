// What recorded runs measured, as the cells of a table.
import { short } from './report.ts';
import type { Measurements } from './run.ts';
import { median } from './statistics.ts';

/** Of the runs that measured it; undefined where none did. */
export function middle(
  runs: readonly Measurements[],
  read: (run: Measurements) => number | undefined,
): number | undefined {
  const values = runs.map(read).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : median(values);
}

/** Empty where nothing was measured. */
export function figure(value: number | undefined): string {
  if (value === undefined) return '';
  return value >= 1000 ? Math.round(value).toLocaleString('en') : short(value);
}
