// The last ten minutes in figures, a point every two seconds: what the status page draws, also for who opens it late.
import type { Histogram } from 'prom-client';
import type { Metrics } from '../metrics.ts';

const EVERY_MS = 2000;
const MOST_POINTS = 300;

export interface Point {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Events delivered a second since the point before. */
  readonly delivered: number;
  /** From commit to the FHIR server's answer, in milliseconds; null where nothing was delivered since the point before. */
  readonly p50: number | null;
  readonly p99: number | null;
  readonly waiting: number | null;
  readonly retainedBytes: number | null;
}

/** Cumulative counts by upper bound in seconds, as Prometheus has them. */
type Buckets = ReadonlyMap<number, number>;

export class History {
  readonly #metrics: Metrics;
  #points: Point[] = [];
  #before: { at: number; delivered: number; buckets: Buckets } | null = null;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  get points(): readonly Point[] {
    return this.#points;
  }

  /** Until `signal` is aborted. */
  start(signal: AbortSignal): void {
    const timer = setInterval(() => void this.sample(), EVERY_MS).unref();
    signal.addEventListener('abort', () => clearInterval(timer), { once: true });
  }

  async sample(): Promise<void> {
    const { processed, commitToPut, outboxUnprocessed, slotRetainedBytes } = this.#metrics;
    const at = Date.now();
    const [processedSoFar, buckets, waiting, retained] = await Promise.all([
      numberOf(processed),
      bucketsOf(commitToPut),
      numberOf(outboxUnprocessed),
      numberOf(slotRetainedBytes),
    ]);
    const delivered = processedSoFar ?? 0;
    const before = this.#before;
    this.#before = { at, delivered, buckets };
    if (!before) return;
    const point = {
      at,
      delivered: (delivered - before.delivered) / Math.max(0.001, (at - before.at) / 1000),
      p50: quantile(0.5, before.buckets, buckets),
      p99: quantile(0.99, before.buckets, buckets),
      waiting,
      retainedBytes: retained,
    };
    this.#points = [...this.#points, point].slice(-MOST_POINTS);
  }
}

/** Null for what is not known (NaN in a metric). */
export async function numberOf(metric: { get(): Promise<{ values: { value: number }[] }> }): Promise<number | null> {
  const { values } = await metric.get();
  const value = values[0]?.value ?? 0;
  return Number.isNaN(value) ? null : value;
}

async function bucketsOf(histogram: Histogram): Promise<Buckets> {
  const { values } = await histogram.get();
  return new Map(
    values.flatMap(({ metricName, labels, value }) => {
      const le = (labels as { le?: number | string }).le;
      return metricName?.endsWith('_bucket') && le !== undefined
        ? [[le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le), value]]
        : [];
    }),
  );
}

/** As histogram_quantile() does it, https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile ; in milliseconds. */
function quantile(share: number, before: Buckets, now: Buckets): number | null {
  const counts = [...now].map(([le, count]) => [le, count - (before.get(le) ?? 0)] as const).sort(([a], [b]) => a - b);
  const total = counts.at(-1)?.[1] ?? 0;
  if (total === 0) return null;
  const rank = share * total;
  const index = counts.findIndex(([, count]) => count >= rank);
  const [lower, below] = counts[index - 1] ?? [0, 0];
  const [upper, upTo] = counts[index] ?? [0, 0];
  if (upper === Number.POSITIVE_INFINITY) return lower * 1000;
  return (lower + ((upper - lower) * (rank - below)) / Math.max(1, upTo - below)) * 1000;
}
