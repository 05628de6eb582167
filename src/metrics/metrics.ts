// Every metric of the connector: name, meaning, unit and labels, in one table, on a registry of its own.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import packageJson from '../../package.json' with { type: 'json' };
import { type Shard, WHOLE } from '../shard.ts';

/** wal_status of https://www.postgresql.org/docs/current/view-pg-replication-slots.html, and what is left when there is none to read. */
export const SLOT_STATES = ['reserved', 'extended', 'unreserved', 'lost', 'missing', 'unknown'] as const;
export type SlotState = (typeof SLOT_STATES)[number];

/** `outage`: the FHIR server does not answer. `refusing`: it answers, and refuses everything. */
export const BREAKER_STATES = ['flowing', 'outage', 'refusing'] as const;

/** What a verification can find; see src/verify. */
export const DRIFT_KINDS = [
  'missing',
  'differs',
  'never-sent',
  'not-deleted',
  'reactivated',
  'duplicate',
  'only-on-server',
] as const;
export type DriftKind = (typeof DRIFT_KINDS)[number];

/** All patients, or some at random: the newest result of each is kept, for a sample finds only some of the drift. */
const VERIFICATION_SCOPES = ['all', 'sample'] as const;
export type VerificationScope = (typeof VERIFICATION_SCOPES)[number];

export const CONNECTOR_STATES = [
  'starting',
  'standby',
  'catching-up',
  'streaming',
  'reconnecting',
  'stopping',
] as const;

/** A state as one series per possible value, exactly one of them 1: a state is never told by a missing series. */
interface StateGauge<State extends string> {
  set(state: State): void;
  get(): State;
  /** For how long it has been so, in seconds. */
  seconds(): number;
}

// rate() cannot see the step from "no series" to 1, so the failures worth an alert exist from the start, at 0.
const COMMON_FAILURE_CODES = ['unreachable', 'network', 'timeout', 'http-429', 'http-500', 'http-503', 'validation'];

// A local round trip takes about a millisecond and the promise is one second; a retried delivery may take a minute.
const COMMIT_TO_PUT_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const BUNDLE_BUCKETS = [2, 4, 8, 16, 32, 64, 128, 200];
const CALL_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/**
 * Makes all metrics, and those of the Node process, on a registry of their own. Labels hold states, fault codes and the shard
 * only, never a patient's data. What is not known yet is NaN (a number) or `unknown` (a state): a series is never missing.
 * Where there are several shards each series has the label `shard`: rules and panels group by it, and so by nothing where there is one.
 */
export function createMetrics({ index, count }: Shard = WHOLE) {
  const registry = new Registry();
  if (count > 1) registry.setDefaultLabels({ shard: String(index) });
  const registers = [registry];
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers });
  const unknownGauge = (name: string, help: string) => {
    const metric = gauge(name, help);
    metric.set(Number.NaN);
    return metric;
  };
  const counter = (name: string, help: string) => new Counter({ name, help, registers });
  const counterByCode = (name: string, help: string) => {
    const metric = new Counter({ name, help, labelNames: ['code'], registers });
    for (const code of COMMON_FAILURE_CODES) metric.inc({ code }, 0);
    return metric;
  };
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, buckets, registers });

  let progressAt = performance.now();
  new Gauge({
    name: 'fhir_since_progress_seconds',
    help: 'Time since the connector last finished a delivery or moved the slot, in seconds',
    registers,
    collect() {
      this.set((performance.now() - progressAt) / 1000);
    },
  });

  let toldAt = performance.now();
  const databaseAge = new Gauge({
    name: 'fhir_database_age_seconds',
    help: 'Time since PostgreSQL last told all that is read from it (slot, triggers, outbox, dead letters, verifications), or since the start, in seconds',
    registers,
    collect() {
      this.set((performance.now() - toldAt) / 1000);
    },
  });

  new Gauge({
    name: 'fhir_connector_build_info',
    help: 'Always 1; the labels tell the version of the connector and of Node',
    labelNames: ['version', 'node'],
    registers,
  }).set({ version: packageJson.version, node: process.version }, 1);
  // A shard of which no connector is seen has no series: only the others can tell that it is missing.
  gauge('fhir_shards', 'Shards that the work on the outbox is divided in (SHARD_COUNT)').set(count);
  collectDefaultMetrics({ register: registry });

  return Object.freeze({
    registry,

    outboxUnprocessed: unknownGauge('fhir_outbox_unprocessed_count', 'Rows of fhir_outbox not processed yet'),
    outboxLag: unknownGauge('fhir_outbox_lag_seconds', 'Age of the oldest unprocessed row of fhir_outbox, in seconds'),
    // Neither Prometheus' rules nor the queries in Grafana's take a threshold from the environment: so it is a series.
    outboxLagLimit: unknownGauge(
      'fhir_outbox_lag_limit_seconds',
      'Age of the oldest unprocessed row beyond which the alert OutboxAge fires (OUTBOX_LAG_ALERT_SECONDS), in seconds',
    ),
    deadLetters: unknownGauge('fhir_dlq_total', 'Entries of fhir_dlq that nobody has resolved yet'),
    deadLetterOldest: unknownGauge(
      'fhir_dlq_oldest_seconds',
      'Age of the oldest unresolved entry of fhir_dlq, in seconds',
    ),

    processed: counter('fhir_connector_processed_total', 'Outbox events delivered and recorded'),
    failed: counter('fhir_connector_failed_total', 'Outbox events moved to fhir_dlq'),
    superseded: counter('fhir_superseded_total', 'Outbox events not sent because a newer state was delivered already'),
    callLatency: histogram(
      'fhir_call_latency_seconds',
      'Time of one call to the FHIR server, in seconds',
      CALL_BUCKETS,
    ),
    bundlePatients: histogram(
      'fhir_bundle_patients',
      'Patients in one transaction Bundle sent to the FHIR server (FHIR_BATCH_SIZE); a lone one makes none',
      BUNDLE_BUCKETS,
    ),
    callErrors: counterByCode('fhir_call_errors_total', 'Calls to the FHIR server that failed, by fault code'),
    retries: counterByCode('fhir_retries_total', 'Deliveries to be tried again, by the fault code of the failed try'),
    commitToPut: histogram(
      'fhir_commit_to_put_seconds',
      'Time from the commit in PostgreSQL to the answer of the FHIR server, in seconds',
      COMMIT_TO_PUT_BUCKETS,
    ),
    deliveriesInFlight: followedGauge('fhir_deliveries_in_flight', 'Deliveries being sent to the FHIR server now'),
    deliveriesQueued: followedGauge('fhir_deliveries_queued', 'Deliveries waiting in the lanes'),
    foreignEdits: counter('fhir_foreign_edits_total', 'Resources found changed by someone else, and overwritten'),
    breakerState: stateGauge(
      'fhir_breaker_state',
      'Whether sends to the FHIR server flow: 1 for the current state',
      BREAKER_STATES,
      'flowing',
    ),

    databaseAge,
    triggersOff: unknownGauge(
      'fhir_triggers_off',
      'Triggers of the connector that are missing or disabled; must be 0, for such changes reach no FHIR server',
    ),

    slotState: stateGauge(
      'fhir_slot_state',
      'wal_status of the replication slot; missing, also while PostgreSQL makes it; unknown while PostgreSQL cannot be asked: 1 for the current state',
      SLOT_STATES,
      'unknown',
    ),
    slotActive: gauge('fhir_slot_active', 'Whether a connector holds the replication slot: 1 yes, 0 no (last known)'),
    slotRetainedBytes: unknownGauge('fhir_slot_retained_bytes', 'WAL kept on disk for the replication slot, in bytes'),
    slotConfirmedLagBytes: unknownGauge(
      'fhir_slot_confirmed_lag_bytes',
      'WAL written since the position the connector confirmed, in bytes',
    ),
    slotSafeWalBytes: unknownGauge(
      'fhir_slot_safe_wal_bytes',
      'WAL that can be written before the slot may be lost, in bytes; NaN without max_slot_wal_keep_size',
    ),
    heartbeat: unknownGauge('fhir_heartbeat_seconds', 'Round trip of the last heartbeat through the slot, in seconds'),
    reconnects: counter('fhir_reconnects_total', 'Replication connections opened after the first'),
    catchUps: counter(
      'fhir_catch_ups_total',
      'Catch-ups from fhir_outbox: the slot was new, lost or on a new timeline',
    ),
    skippedRows: counter('fhir_skipped_rows_total', 'Unprocessed outbox rows the slot had skipped, found by the sweep'),
    removedRows: counter('fhir_removed_rows_total', 'Outbox rows removed by someone else before they were recorded'),
    removedByCleanUp: cleanUpCounter(),
    cleanUpFailures: counter('fhir_cleanup_failures_total', 'Clean-ups of old rows that failed'),
    drift: verificationGauge(
      'fhir_drift',
      'Patients or resources that differed when the last verification ended; must be 0',
      DRIFT_KINDS,
    ),
    verifiedAt: verificationGauge(
      'fhir_verification_timestamp_seconds',
      'When the last verification ended, in seconds since 1970',
    ),
    connectorState: stateGauge(
      'fhir_connector_state',
      'What the connector does: 1 for the current state',
      CONNECTOR_STATES,
      'starting',
    ),

    /** Tells that a delivery was finished or the slot moved; fhir_since_progress_seconds starts again at 0. */
    progressed(): void {
      progressAt = performance.now();
    },
    /** Tells that PostgreSQL told all; fhir_database_age_seconds starts again at 0. */
    databaseTold(): void {
      toldAt = performance.now();
    },
    /** By performance.now(). */
    progressedAt: () => progressAt,
  });

  function cleanUpCounter() {
    const metric = new Counter({
      name: 'fhir_cleanup_removed_rows_total',
      help: 'Finished rows removed because they were older than RETENTION_DAYS, by table',
      labelNames: ['table'],
      registers,
    });
    for (const table of ['fhir_outbox', 'fhir_processed_event', 'fhir_dlq']) metric.inc({ table }, 0);
    return metric;
  }

  /** Read when it is asked for: what changes with every delivery would cost more to tell than to ask. 0 until it follows something. */
  function followedGauge(name: string, help: string) {
    let read = () => 0;
    const metric = new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
    return {
      follow(source: () => number): void {
        read = source;
      },
      get: () => metric.get(),
    };
  }

  /** NaN until there was a verification of that scope. */
  function verificationGauge(name: string, help: string, kinds: readonly DriftKind[] = []) {
    const labelNames = kinds.length > 0 ? ['scope', 'kind'] : ['scope'];
    const metric = new Gauge({ name, help, labelNames, registers });
    for (const scope of VERIFICATION_SCOPES) {
      if (kinds.length === 0) metric.set({ scope }, Number.NaN);
      for (const kind of kinds) metric.set({ scope, kind }, Number.NaN);
    }
    return metric;
  }

  function stateGauge<State extends string>(name: string, help: string, states: readonly State[], initial: State) {
    const metric = new Gauge({ name, help, labelNames: ['state'], registers });
    let current = initial;
    let since = performance.now();
    const stateful: StateGauge<State> = {
      set(state) {
        if (state !== current) since = performance.now();
        current = state;
        for (const each of states) metric.set({ state: each }, each === state ? 1 : 0);
      },
      get: () => current,
      seconds: () => (performance.now() - since) / 1000,
    };
    stateful.set(initial);
    return stateful;
  }
}

export type Metrics = ReturnType<typeof createMetrics>;
