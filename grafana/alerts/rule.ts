// What an alert rule says, whoever evaluates it.

/** For {value}: functions that the templates of Prometheus and of Grafana both have. */
type Format = 'humanize' | 'humanize1024' | 'humanizeDuration' | 'humanizePercentage';

export interface AlertRule {
  /** The alert's name in Prometheus, its title in Grafana, its heading in docs/runbook.md. */
  readonly name: string;
  /**
   * PromQL over all connectors that Prometheus scrapes: for each shard there is one that works, and others stand by. It gives a
   * number for each shard, with the label `shard`, where one that works would hide another that does not; else one number
   * for all. With one shard it is always one, without labels. It is there whether or not anything is wrong; NaN means
   * that it is not known.
   */
  readonly value: string;
  readonly fires: { readonly above: number } | { readonly below: number };
  /** So long without a break before it fires, in seconds. */
  readonly forSeconds: number;
  /** critical: nothing is delivered, changes pass unseen, or soon WAL will be given up: now. warning: today. */
  readonly severity: 'critical' | 'warning';
  /** One line; `{value}` is the number that fires, as `format` writes it, and `{shard}` says whose it is where shards have numbers of their own. */
  readonly summary: string;
  readonly format?: Format;
  readonly meaning: string;
  readonly action: string;
  /**
   * What Grafana does when `value` has no number. Alerting: that is what is feared. KeepLast: what was wrong is not mended
   * by nobody seeing it, and ConnectorDown tells that. OK: it is so in normal running.
   */
  readonly noData: { readonly state: 'Alerting' | 'KeepLast' | 'OK'; readonly because: string };
  /** What Grafana does when it cannot ask Prometheus. Only ConnectorDown tells of it: one cause is to ring once. */
  readonly queryFails?: 'Alerting' | 'KeepLast';
}

export interface AlertGroup {
  readonly name: string;
  readonly rules: readonly AlertRule[];
}

/**
 * How much a counter has grown within the hour. A sweep at the start of the connector counts before Prometheus has seen the
 * counter at 0, which `increase` cannot know of: of a process that is younger than the hour all counts.
 */
export function withinTheHour(counter: string, sum: 'sum' | 'sum by (shard) '): string {
  const ofTheYoung = `${counter} and on (job, instance) time() - process_start_time_seconds < 3600`;
  return `${sum}(increase(${counter}[1h])) + (${sum}(${ofTheYoung}) or 0 * ${sum}(${counter}))`;
}

/** After a series of each connector: without those of the standbys. */
export const NOT_OF_STANDBYS = 'unless on (job, instance) (fhir_connector_state{state="standby"} == 1)';

export const UNSEEN = {
  state: 'KeepLast',
  because: 'no connector is seen, as ConnectorDown tells',
} as const;
