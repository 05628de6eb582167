// The quantiles of a histogram, as lines.

export function quantilesOf(histogram: string) {
  const quantile = (share: number) =>
    `histogram_quantile(${share}, sum by (le) (rate(${histogram}_bucket[$__rate_interval])))`;
  return { p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99) };
}
