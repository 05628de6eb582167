// A history of figures, and whether an alert fires at its end.

export interface Case {
  /** What happens; it ends the sentence that begins with the alert's name and "fires when" or "is quiet when". */
  readonly when: string;
  /** Values every five seconds: https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series */
  readonly series: Readonly<Record<string, string>>;
  readonly at: string;
  /** It fires, and says this. */
  readonly says?: string;
  /** It fires for this shard, and for no other one. */
  readonly ofShard?: string;
}

/** By the name of the alert. */
export type Cases = Readonly<Record<string, readonly Case[]>>;

/** The labels that Prometheus gives the series of the connectors a and b. */
export const A = 'job="fhir_connector", instance="a"';
export const B = 'job="fhir_connector", instance="b"';

/** And where a is the connector of one shard, and b that of another one. */
export const SHARD_0 = `${A}, shard="0"`;
export const SHARD_1 = `${B}, shard="1"`;

/** So many values that the connector does not know. (promtool has no multiple of NaN.) */
export function unknown(values: number): string {
  return Array.from({ length: values }, () => 'NaN').join(' ');
}
