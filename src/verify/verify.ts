// verify: compares what the database has with what the FHIR server has, both ways, and emits again what differs.
import { sql } from 'kysely';
import type { FhirClient } from '../fhir/client.ts';
import type { Profile } from '../fhir/patient-mapper.ts';
import type { DriftKind, VerificationScope } from '../metrics/metrics.ts';
import type { Database } from '../outbox/database.ts';
import { emitPatients, type Wait } from '../outbox/emission.ts';
import { Check } from './check.ts';
import type { Drift } from './judge.ts';
import { doesNotWork, patiently } from './resource-reader.ts';
import { confirmUnlinked, listUnlinked } from './server-only.ts';
import { overviewOf, sampleIds, sourceIds } from './source.ts';

export interface VerifySettings {
  /** So many patients at random; null: all, and all that the server has. */
  readonly sample: number | null;
  readonly seed: number;
  readonly repair: boolean;
  /** The connector's own: what it would write is what is compared. */
  readonly profile: Profile;
  /** Reads at once. */
  readonly concurrency: number;
}

export interface VerifyWatcher {
  /** `step`: what is being done now; `done` of `total` (both in the step's own unit, total null when unknown). */
  progress(step: 'comparing' | 'listing' | 'repairing' | 'settling', done: number, total: number | null): void;
  waiting(wait: Wait | null): void;
}

export interface Finding {
  readonly kind: DriftKind;
  /** patient.id; null where no patient belongs to the resource. */
  readonly patient: number | null;
  readonly fhirId: string | null;
  readonly fields: readonly string[];
  readonly reason: string | null;
}

export interface Verification {
  readonly scope: VerificationScope;
  readonly patients: number;
  readonly linked: number;
  /** Patients on the FHIR server, whoever wrote them; null when it does not count. */
  readonly onServer: number | null;
  readonly checked: number;
  readonly same: number;
  readonly deadLettered: readonly number[];
  /** On their way all the time. */
  readonly undecided: readonly number[];
  /** Refused to be read, each with the fault's code. */
  readonly unreadable: readonly { readonly patient: number; readonly code: string }[];
  /** What is left. */
  readonly drift: readonly Finding[];
  /** Patients that were emitted again, and are the same now. */
  readonly repaired: readonly number[];
}

/** The others are for a person to decide: what a database does not have it cannot emit. */
const REPAIRABLE = new Set<DriftKind>(['missing', 'differs', 'never-sent', 'not-deleted']);
const IDS = 1000;

/**
 * Rejects with a FatalError when the FHIR server does not work or refuses us, with PostgreSQL's error when it fails, and
 * with the signal's reason when it is aborted. The result is kept in fhir_verification.
 */
export async function verify(
  db: Database,
  fhir: FhirClient,
  settings: VerifySettings,
  watcher: VerifyWatcher,
  signal: AbortSignal,
): Promise<Verification> {
  const startedAt = new Date();
  const overview = await overviewOf(db);
  const counted = await patiently(() => fhir.count('Patient'), signal);
  if (!counted.ok) throw doesNotWork(counted.fault);
  const check = new Check(db, fhir, settings, signal);
  const checked =
    settings.sample === null
      ? await compareAll(db, check, overview.highestId, watcher)
      : await compareSome(await sampleIds(db, settings.sample, settings.seed), check, watcher);
  const onPage = (seen: number) => watcher.progress('listing', seen, counted.total);
  const candidates = settings.sample === null ? await listUnlinked(db, fhir, overview.systems, onPage, signal) : [];
  watcher.progress('settling', 0, null);
  await check.settle();
  const unlinked = await confirmUnlinked(db, fhir, overview.systems, candidates, signal);
  const repaired = settings.repair ? await repair(db, check, watcher, signal) : [];

  const drift: Finding[] = check.decided('drift').map(([id, verdict]) => findingOf(id, verdict));
  for (const { fhirId, sourceId } of unlinked)
    drift.push({
      kind: sourceId === null ? 'only-on-server' : 'duplicate',
      patient: sourceId,
      fhirId,
      fields: [],
      reason: null,
    });
  const byPatient = (a: Finding, b: Finding) =>
    (a.patient ?? Number.MAX_SAFE_INTEGER) - (b.patient ?? Number.MAX_SAFE_INTEGER);
  const verification: Verification = {
    scope: settings.sample === null ? 'all' : 'sample',
    patients: overview.patients,
    linked: overview.linked,
    onServer: counted.total,
    checked,
    same: check.same,
    deadLettered: check.decided('dead-lettered').map(([id]) => id),
    undecided: check.undecided,
    unreadable: check.decided('unreadable').map(([patient, { code }]) => ({ patient, code })),
    drift: drift.toSorted(byPatient),
    repaired,
  };
  await remember(db, startedAt, verification);
  return verification;
}

async function compareAll(db: Database, check: Check, highestId: number, watcher: VerifyWatcher): Promise<number> {
  let checked = 0;
  const first = Number.MIN_SAFE_INTEGER;
  for (let ids = await sourceIds(db, first, IDS); ids.length > 0; ids = await sourceIds(db, ids.at(-1) ?? 0, IDS)) {
    await check.look(ids);
    checked += ids.length;
    watcher.progress('comparing', ids.at(-1) ?? 0, highestId);
  }
  return checked;
}

async function compareSome(ids: readonly number[], check: Check, watcher: VerifyWatcher): Promise<number> {
  for (let done = 0; done < ids.length; done += IDS) {
    await check.look(ids.slice(done, done + IDS));
    watcher.progress('comparing', Math.min(done + IDS, ids.length), ids.length);
  }
  return ids.length;
}

/** Emits, waits until it is delivered, compares again; returns the patients that are mended. */
async function repair(db: Database, check: Check, watcher: VerifyWatcher, signal: AbortSignal): Promise<number[]> {
  const ids = check
    .decided('drift')
    .filter(([, { drift }]) => REPAIRABLE.has(drift))
    .map(([id]) => id)
    .toSorted((a, b) => a - b);
  const moved = (done: number) => watcher.progress('repairing', done, ids.length);
  await emitPatients(db, ids, { moved, waiting: watcher.waiting }, signal);
  check.reopen(ids);
  watcher.progress('settling', 0, null);
  await check.settle();
  const left = new Set([
    ...check.undecided,
    ...(['drift', 'dead-lettered', 'unreadable'] as const).flatMap((kind) => check.decided(kind).map(([id]) => id)),
  ]);
  return ids.filter((id) => !left.has(id));
}

function findingOf(patient: number, { drift, fhirId, fields, reason }: Drift): Finding {
  return { kind: drift, patient, fhirId, fields, reason };
}

/** For the metrics of the connector: numbers only. */
async function remember(db: Database, startedAt: Date, result: Verification): Promise<void> {
  const drift: Partial<Record<DriftKind, number>> = {};
  for (const { kind } of result.drift) drift[kind] = (drift[kind] ?? 0) + 1;
  const undecided = result.undecided.length + result.unreadable.length;
  await sql`
    INSERT INTO public.fhir_verification (scope, started_at, finished_at, checked, undecided, drift, repaired)
    VALUES (${result.scope}, ${startedAt}, clock_timestamp(), ${result.checked}, ${undecided}, ${JSON.stringify(drift)}::jsonb,
            ${result.repaired.length})`.execute(db);
}
