// The regression gate: a loss by a factor of two is told, noise and gains are not.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { againstRecorded, toRecord } from '../../bench/gate.ts';
import type { Result } from '../../bench/report.ts';
import { TARGETS } from '../../bench/targets.ts';

function result(id: string, measured: number): Result {
  const target = TARGETS.find((one) => one.id === id);
  if (!target) throw new Error(`There is no target ${id}.`);
  return { target, measured, each: [measured], met: true };
}

describe('the regression gate', () => {
  const recorded = { 'drain-floor': 0.4, 'cpu-floor': 3 };

  it.each([
    { what: 'half the rate', id: 'drain-floor', measured: 0.2 },
    { what: 'twice the CPU', id: 'cpu-floor', measured: 6 },
  ])('tells of $what, with both figures', ({ id, measured }) => {
    const losses = againstRecorded([result(id, measured)], recorded);
    expect(losses).toHaveLength(1);
    expect(losses[0]).toContain(String(measured));
    expect(losses[0]).toContain(String(recorded[id as keyof typeof recorded]));
  });

  it.each([
    { what: 'a third less', id: 'drain-floor', measured: 0.27 },
    { what: 'half as much CPU again', id: 'cpu-floor', measured: 4.5 },
    { what: 'a gain', id: 'drain-floor', measured: 0.9 },
    { what: 'what is not recorded', id: 'start', measured: 100 },
  ])('says nothing of $what', ({ id, measured }) => {
    expect(againstRecorded([result(id, measured)], recorded)).toEqual([]);
  });

  it('says nothing of a ratio that was not measured', () => {
    expect(againstRecorded([], recorded)).toEqual([]);
  });

  it('records ratios only, never a time or a size', () => {
    const all = TARGETS.map(({ id }) => result(id, 1));
    const kept = Object.keys(toRecord(all));
    expect(kept.length).toBeGreaterThan(3);
    expect(TARGETS.filter(({ id, unit }) => kept.includes(id) && unit !== undefined)).toEqual([]);
    expect(Object.keys(JSON.parse(readFileSync('bench/recorded.json', 'utf8'))).toSorted()).toEqual(kept.toSorted());
  });
});
