// The counters of the connectors that are alive at the end, against what the same processes logged and the tables hold.
import { setTimeout as pause } from 'node:timers/promises';
import { filterOf } from '../../src/shard.ts';
import { parseExposition } from '../metrics/exposition.ts';
import type { ConnectorProcess } from '../support/connector.ts';
import { ask, type World } from './world.ts';

/** Gauges are sampled every few seconds, and a process that has just started counts from zero. */
const PATIENCE_MS = 30_000;

export async function judgeCounters({ connectors, shards: count, db }: World): Promise<string[]> {
  const differing = async (process: ConnectorProcess, index: number): Promise<string[]> => {
    const ours = filterOf({ index: index % count, count });
    const [tables] = await ask<{ unprocessed: number; dead: number }>(
      db,
      `SELECT (SELECT count(*)::int FROM fhir_outbox WHERE NOT processed AND ${ours}) AS unprocessed,
              (SELECT count(*)::int FROM fhir_dlq WHERE resolved_at IS NULL AND ${ours}) AS dead`,
    );
    const expected = {
      fhir_connector_processed_total: rowsLogged(process, 'delivered'),
      fhir_connector_failed_total: rowsLogged(process, 'dead-lettered'),
      fhir_outbox_unprocessed_count: tables?.unprocessed,
      fhir_dlq_total: tables?.dead,
      fhir_deliveries_in_flight: 0,
      fhir_deliveries_queued: 0,
    };
    const counted = await countersOf(process);
    return Object.entries(expected).flatMap(([name, value]) =>
      counted.get(name) === value ? [] : [`${name} is ${counted.get(name)} at the end, and not ${value}.`],
    );
  };
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const violations: string[] = [];
    for (const [index, { process }] of connectors.entries())
      if (process) violations.push(...(await differing(process, index)));
    if (violations.length === 0 || performance.now() > deadline) return violations;
    await pause(500);
  }
}

function rowsLogged({ log }: ConnectorProcess, msg: string): number {
  return log
    .filter((line) => line.msg === msg)
    .reduce((rows, { outboxIds }) => rows + (outboxIds as readonly number[]).length, 0);
}

/** Empty while the process does not answer (yet). */
async function countersOf({ log }: ConnectorProcess): Promise<ReadonlyMap<string, number>> {
  const port = log.find(({ metricsPort }) => metricsPort !== undefined)?.metricsPort;
  if (port === undefined) return new Map();
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return new Map(parseExposition(text).samples.map(({ name, value }) => [name, value]));
}
