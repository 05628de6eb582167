// What the status page shows of this moment, as JSON: states, counts, ages and codes; no patient's data.
import packageJson from '../../../package.json' with { type: 'json' };
import type { Metrics } from '../metrics.ts';
import { type History, numberOf } from './history.ts';
import type { RecentFaults } from './recent-faults.ts';

/** A number that is not known is null. */
export type Live = Awaited<ReturnType<typeof live>>;

export interface LiveParts {
  readonly metrics: Metrics;
  readonly history: History;
  readonly faults: RecentFaults;
  readonly worker: string;
  readonly slot: string;
  /** The address of the FHIR server. */
  readonly fhirServer: string;
}

export async function live({ metrics, history, faults, worker, slot, fhirServer }: LiveParts) {
  const sum = async (metric: Parameters<typeof numberOf>[0]) =>
    (await metric.get()).values.reduce((total, { value }) => total + value, 0);
  return {
    at: new Date().toISOString(),
    version: packageJson.version,
    worker,
    startedAt: new Date(Date.now() - process.uptime() * 1000).toISOString(),
    state: metrics.connectorState.get(),
    stateSeconds: metrics.connectorState.seconds(),
    fhir: { server: fhirServer, state: metrics.breakerState.get(), seconds: metrics.breakerState.seconds() },
    /** Since PostgreSQL told what is told here of slot, outbox and dead letters. */
    databaseSeconds: (await numberOf(metrics.databaseAge)) ?? 0,
    triggersOff: await numberOf(metrics.triggersOff),
    slot: {
      name: slot,
      state: metrics.slotState.get(),
      active: (await numberOf(metrics.slotActive)) === 1,
      retainedBytes: await numberOf(metrics.slotRetainedBytes),
      safeWalBytes: await numberOf(metrics.slotSafeWalBytes),
    },
    outbox: {
      waiting: await numberOf(metrics.outboxUnprocessed),
      oldestSeconds: await numberOf(metrics.outboxLag),
      lateAfterSeconds: await numberOf(metrics.outboxLagLimit),
    },
    deadLetters: {
      unresolved: await numberOf(metrics.deadLetters),
      oldestSeconds: await numberOf(metrics.deadLetterOldest),
    },
    deliveries: {
      delivered: await sum(metrics.processed),
      deadLettered: await sum(metrics.failed),
      retries: await sum(metrics.retries),
      inFlight: (await numberOf(metrics.deliveriesInFlight)) ?? 0,
      queued: (await numberOf(metrics.deliveriesQueued)) ?? 0,
    },
    sinceProgressSeconds: (performance.now() - metrics.progressedAt()) / 1000,
    faults: faults.newest,
    history: history.points,
  };
}
