// verify: compares what the database has with what the FHIR server has, both ways, and emits again what differs.
import { sql } from 'kysely';
import type { FhirClient } from '../fhir/client/fhir-client.ts';
import type { Profile } from '../fhir/mapping/mapped-resource.ts';
import type { DriftKind, VerificationScope } from '../metrics/metrics.ts';
import type { ResourceKind } from '../outbox/delivery/kinds.ts';
import { emit, type Wait } from '../outbox/operator/emission.ts';
import { watchedKinds } from '../outbox/operator/watched.ts';
import type { Database } from '../outbox/tables/database.ts';
import { Check } from './check.ts';
import type { Drift } from './judge.ts';
import { doesNotWork, patiently } from './resource-reader.ts';
import { overviewOf, sampleIds, sourceIds } from './row-states.ts';
import { confirmUnlinked, listUnlinked } from './server-only.ts';

export interface VerifySettings {
  /** So many of each table at random; null: all, and all that the server has. */
  readonly sample: number | null;
  readonly seed: number;
  readonly repair: boolean;
  /** The connector's own: what it would write is what is compared. */
  readonly profile: Profile;
  /** Reads at once. */
  readonly concurrency: number;
}

export interface VerifyWatcher {
  /** `step`: what is being done now with the table; `done` of `total` (both in the step's own unit, total null when unknown). */
  progress(
    table: string,
    step: 'comparing' | 'listing' | 'repairing' | 'settling',
    done: number,
    total: number | null,
  ): void;
  waiting(wait: Wait | null): void;
}

interface DriftFinding {
  readonly kind: DriftKind;
  /** Of the row; null where no row belongs to the resource. */
  readonly id: number | null;
  readonly fhirId: string | null;
  readonly fields: readonly string[];
  readonly reason: string | null;
}

/** What was found of one table. */
export interface TableVerification {
  readonly table: string;
  /** As Patient. */
  readonly type: string;
  readonly rows: number;
  readonly linked: number;
  /** Resources of the type on the FHIR server, whoever wrote them; null when it does not count. */
  readonly onServer: number | null;
  readonly checked: number;
  readonly same: number;
  readonly deadLettered: readonly number[];
  /** On their way all the time. */
  readonly undecided: readonly number[];
  /** Refused to be read, each with the fault's code. */
  readonly unreadable: readonly { readonly id: number; readonly code: string }[];
  /** What is left. */
  readonly drift: readonly DriftFinding[];
  /** Rows that were emitted again, and are the same now. */
  readonly repaired: readonly number[];
}

export interface Verification {
  readonly scope: VerificationScope;
  /** In this order: what is referred to comes before what refers. */
  readonly tables: readonly TableVerification[];
}

/** The others are for a person to decide: what a database does not have it cannot emit. */
export const REPAIRABLE: ReadonlySet<DriftKind> = new Set(['missing', 'differs', 'never-sent', 'not-deleted']);
const IDS = 1000;

/**
 * Of each table whose changes are sent. Rejects with a FatalError when the FHIR server does not work or refuses us, with
 * PostgreSQL's error when it fails, and with the signal's reason when it is aborted. The result is kept in fhir_verification.
 */
export async function verify(
  db: Database,
  fhir: FhirClient,
  settings: VerifySettings,
  watcher: VerifyWatcher,
  signal: AbortSignal,
): Promise<Verification> {
  const startedAt = new Date();
  const tables: TableVerification[] = [];
  for (const kind of await watchedKinds(db)) tables.push(await verifyTable(db, fhir, kind, settings, watcher, signal));
  const verification: Verification = { scope: settings.sample === null ? 'all' : 'sample', tables };
  await remember(db, startedAt, verification);
  return verification;
}

async function verifyTable(
  db: Database,
  fhir: FhirClient,
  kind: ResourceKind,
  settings: VerifySettings,
  watcher: VerifyWatcher,
  signal: AbortSignal,
): Promise<TableVerification> {
  const { table, type } = kind;
  const overview = await overviewOf(db, table);
  const counted = await patiently(() => fhir.count(type), signal);
  if (!counted.ok) throw doesNotWork(counted.fault);
  const check = new Check(db, fhir, kind, settings, signal);
  const comparing = (done: number, total: number) => watcher.progress(table, 'comparing', done, total);
  const checked =
    settings.sample === null
      ? await compareAll(db, table, check, overview.highestId, comparing)
      : await compareSome(await sampleIds(db, table, settings.sample, settings.seed), check, comparing);
  const onPage = (seen: number) => watcher.progress(table, 'listing', seen, counted.total);
  const candidates =
    settings.sample === null ? await listUnlinked(db, fhir, kind, overview.systems, onPage, signal) : [];
  watcher.progress(table, 'settling', 0, null);
  await check.settle();
  const unlinked = await confirmUnlinked(db, fhir, kind, overview.systems, candidates, signal);
  const repaired = settings.repair ? await repair(db, table, check, watcher, signal) : [];

  const drift: DriftFinding[] = check.decided('drift').map(([id, verdict]) => findingOf(id, verdict));
  for (const { fhirId, sourceId } of unlinked)
    drift.push({
      kind: sourceId === null ? 'only-on-server' : 'duplicate',
      id: sourceId,
      fhirId,
      fields: [],
      reason: null,
    });
  const byRow = (a: DriftFinding, b: DriftFinding) =>
    (a.id ?? Number.MAX_SAFE_INTEGER) - (b.id ?? Number.MAX_SAFE_INTEGER);
  return {
    table,
    type,
    rows: overview.rows,
    linked: overview.linked,
    onServer: counted.total,
    checked,
    same: check.same,
    deadLettered: check.decided('dead-lettered').map(([id]) => id),
    undecided: check.undecided,
    unreadable: check.decided('unreadable').map(([id, { code }]) => ({ id, code })),
    drift: drift.toSorted(byRow),
    repaired,
  };
}

async function compareAll(
  db: Database,
  table: string,
  check: Check,
  highestId: number,
  progress: (done: number, total: number) => void,
): Promise<number> {
  let checked = 0;
  let ids = await sourceIds(db, table, Number.MIN_SAFE_INTEGER, IDS);
  while (ids.length > 0) {
    await check.look(ids);
    checked += ids.length;
    const last = ids.at(-1) ?? 0;
    progress(last, highestId);
    ids = await sourceIds(db, table, last, IDS);
  }
  return checked;
}

async function compareSome(
  ids: readonly number[],
  check: Check,
  progress: (done: number, total: number) => void,
): Promise<number> {
  for (let done = 0; done < ids.length; done += IDS) {
    await check.look(ids.slice(done, done + IDS));
    progress(Math.min(done + IDS, ids.length), ids.length);
  }
  return ids.length;
}

/** Emits, waits until it is delivered, compares again; returns the rows that are mended. */
async function repair(
  db: Database,
  table: string,
  check: Check,
  watcher: VerifyWatcher,
  signal: AbortSignal,
): Promise<number[]> {
  const ids = check
    .decided('drift')
    .filter(([, { drift }]) => REPAIRABLE.has(drift))
    .map(([id]) => id)
    .toSorted((a, b) => a - b);
  const moved = (done: number) => watcher.progress(table, 'repairing', done, ids.length);
  await emit(db, table, ids, { moved, waiting: watcher.waiting }, signal);
  check.reopen(ids);
  watcher.progress(table, 'settling', 0, null);
  await check.settle();
  const left = new Set([
    ...check.undecided,
    ...(['drift', 'dead-lettered', 'unreadable'] as const).flatMap((kind) => check.decided(kind).map(([id]) => id)),
  ]);
  return ids.filter((id) => !left.has(id));
}

function findingOf(id: number, { drift, fhirId, fields, reason }: Drift): DriftFinding {
  return { kind: drift, id, fhirId, fields, reason };
}

/** For the metrics of the connector: numbers only. */
async function remember(db: Database, startedAt: Date, { scope, tables }: Verification): Promise<void> {
  const drift: Partial<Record<DriftKind, number>> = {};
  for (const { kind } of tables.flatMap((table) => table.drift)) drift[kind] = (drift[kind] ?? 0) + 1;
  const sum = (count: (table: TableVerification) => number) => tables.reduce((total, table) => total + count(table), 0);
  await sql`
    SELECT public.fhir_remember_verification(
      ${scope}, ${startedAt}, ${sum((table) => table.checked)}::bigint,
      ${sum((table) => table.undecided.length + table.unreadable.length)}::bigint, ${JSON.stringify(drift)}::jsonb,
      ${sum((table) => table.repaired.length)}::bigint)`.execute(db);
}
