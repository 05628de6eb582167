// docs/scaling.md is made from the recorded runs, bench/scaling.json and bench/shards.json, and from those of docs/performance.md: no figure
// there is typed. After the commands at its end: npm run snapshots

import { expect, test } from 'vitest';
import { machineOf, type Recording, TARGET_HEAD, targetRows } from '../../bench/performance-page.ts';
import { resultsOf } from '../../bench/report.ts';
import { MEASURED_HEAD, measuredRows, RATE_HEAD, rateRows, SHARDS_HEAD, shardRows } from '../../bench/scaling-page.ts';
import { pathOf, read, table, withGenerated } from './document.ts';

const PAGE = 'docs/scaling.md';
const recording: Recording = JSON.parse(read('bench/scaling.json'));
const shards: Recording = JSON.parse(read('bench/shards.json'));
const performance: Recording = JSON.parse(read('bench/results.json'));

test('the page holds what the recorded runs measured, and what follows for a rate', async () => {
  const page = withGenerated(PAGE, {
    machine: machineOf(recording),
    'shards-machine': machineOf(shards),
    shards: table(SHARDS_HEAD, shardRows(shards)),
    several: table(TARGET_HEAD, targetRows(resultsOf(shards.runs))),
    rates: table(RATE_HEAD, rateRows(recording, performance)),
    measured: table(MEASURED_HEAD, measuredRows(recording)),
  });
  expect(page).not.toContain('NaN');
  await expect(page).toMatchFileSnapshot(pathOf(PAGE));
});

test('the recorded runs met what the page promises', () => {
  const results = resultsOf(recording.runs);
  expect(results.map(({ target, met }) => [target.id, met])).toEqual([
    ['reader-filter', true],
    ['gauges', true],
  ]);
  expect(resultsOf(shards.runs).map(({ target, met }) => [target.id, met])).toEqual([
    ['takeover-sigterm', true],
    ['takeover-sigkill', true],
    ['takeover-cut', true],
    ['shards', true],
  ]);
});
