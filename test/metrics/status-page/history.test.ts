// The figures that the status page draws: rates and percentiles between two points, from the metrics themselves.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createMetrics } from '../../../src/metrics/metrics.ts';
import { History } from '../../../src/metrics/status-page/history.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a point', () => {
  it('tells the rate, the percentiles and what waits since the point before', async () => {
    const metrics = createMetrics();
    const history = new History(metrics);
    metrics.processed.inc(100);
    metrics.commitToPut.observe(20);
    await history.sample();
    expect(history.points).toEqual([]);
    vi.advanceTimersByTime(2000);
    metrics.processed.inc(8);
    metrics.superseded.inc(1);
    metrics.failed.inc(1);
    for (let time = 0; time < 99; time += 1) metrics.commitToPut.observe(0.004);
    metrics.commitToPut.observe(0.4);
    metrics.outboxUnprocessed.set(3);
    await history.sample();
    expect(history.points).toEqual([
      {
        at: 1_002_000,
        delivered: 4,
        p50: expect.any(Number),
        p99: expect.any(Number),
        waiting: 3,
        retainedBytes: null,
      },
    ]);
    const [point] = history.points;
    // Within the bucket of 2.5 to 5 ms.
    expect(point?.p50).toBeGreaterThan(2.5);
    expect(point?.p50).toBeLessThan(5);
    expect(point?.p99).toBe(5);
  });

  it('has no percentile where nothing was delivered', async () => {
    const history = new History(createMetrics());
    await history.sample();
    vi.advanceTimersByTime(2000);
    await history.sample();
    expect(history.points).toMatchObject([{ delivered: 0, p50: null, p99: null, waiting: null }]);
  });
});

it('points are made every two seconds and kept for ten minutes', async () => {
  const history = new History(createMetrics());
  const stop = new AbortController();
  history.start(stop.signal);
  await vi.advanceTimersByTimeAsync(700_000);
  expect(history.points).toHaveLength(300);
  expect((history.points.at(-1)?.at ?? 0) - (history.points[0]?.at ?? 0)).toBe(299 * 2000);
  stop.abort();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(history.points.at(-1)?.at).toBe(1_700_000);
});
