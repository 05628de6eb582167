// docs/performance.md and its chart are made from the recorded runs, bench/results.json: no figure there is typed.
// After `npm run bench -- --runs 3 --json bench/results.json`: npm run snapshots

import { expect, test } from 'vitest';
import { chart } from '../../bench/chart.ts';
import {
  barsOf,
  COST_HEAD,
  costRows,
  LATENCY_HEAD,
  latencyRows,
  machineOf,
  PROFILE_HEAD,
  profileRows,
  RATE_HEAD,
  type Recording,
  rateRows,
  TARGET_HEAD,
  TRIGGER_HEAD,
  targetRows,
  triggerRows,
} from '../../bench/performance-page.ts';
import { resultsOf } from '../../bench/report.ts';
import { pathOf, read, table, withGenerated } from './document.ts';

const PAGE = 'docs/performance.md';
const recording: Recording = JSON.parse(read('bench/results.json'));

test('the page holds what the recorded runs measured', async () => {
  const page = withGenerated(PAGE, {
    machine: machineOf(recording),
    targets: table(TARGET_HEAD, targetRows(resultsOf(recording.runs))),
    rates: table(RATE_HEAD, rateRows(recording)),
    latency: table(LATENCY_HEAD, latencyRows(recording)),
    triggers: table(TRIGGER_HEAD, triggerRows(recording)),
    cost: table(COST_HEAD, costRows(recording)),
    profile: table(PROFILE_HEAD, profileRows(JSON.parse(read('bench/profile.json')))),
  });
  await expect(page).toMatchFileSnapshot(pathOf(PAGE));
});

test('the chart shows what the recorded runs measured', async () => {
  await expect(chart(barsOf(recording), 'a second')).toMatchFileSnapshot(pathOf('docs/performance.svg'));
});
