// The judgement: what the WAL says was committed against what the FHIR server's ledger and the connector's records show.
import type { Lsn } from '../../src/lsn.ts';
import { type Body, tokensOf, type Written } from '../support/fhir-ledger.ts';
import type { Change, WalOracle } from './oracle.ts';
import { owner } from './workload.ts';
import { ask, type World } from './world.ts';

/** A delivery that ended as a dead letter: patient and transaction. */
type Dead = ReadonlySet<string>;

export async function deadLetters({ db }: World): Promise<Dead> {
  const rows = await ask<{ patient_id: number; txid: string }>(db, 'SELECT patient_id, txid FROM fhir_dlq');
  return new Set(rows.map(({ patient_id, txid }) => `${patient_id}/${txid}`));
}

/** Each patient's versions are its commits, in order, each that was not dead-lettered; none twice. */
export function judgeVersions(oracle: WalOracle, writes: readonly Written[], dead: Dead): string[] {
  const violations: string[] = [];
  const expected = Map.groupBy(oracle.changes, ({ patientId }) => owner(patientId));
  const seen = Map.groupBy(withOwners(writes), (written) => written.owner);
  for (const [who, written] of seen) {
    if (who !== '' && !expected.has(who))
      violations.push(`${who} was written ${written.length} times and never committed.`);
  }
  for (const [who, changes] of expected) {
    const told = follow(changes, seen.get(who) ?? [], dead);
    if (told) violations.push(`${who}: ${told}`);
  }
  return violations;
}

/** Null when the versions follow the changes; otherwise what does not. */
function follow(changes: readonly Change[], written: readonly OwnedWrite[], dead: Dead): string | null {
  let next = 0;
  let last: string | null = null;
  for (const change of changes) {
    const body = text(change.body);
    const version = written[next];
    if (version && text(version.body) === body) {
      next += 1;
      last = body;
      continue;
    }
    // The server keeps the version of an unchanged resource; a deleted one that never got there leaves no trace.
    if (body === last || change.optional || dead.has(`${change.patientId}/${change.txid}`)) continue;
    if (change.body === null && last === null) continue;
    if (change.body && change.body.active === false && last === null) continue;
    const where = written.findIndex((other, index) => index > next && text(other.body) === body);
    const instead = changes.findIndex(({ body }) => version !== undefined && text(body) === text(version.body));
    return [
      `change ${changes.indexOf(change)} of ${changes.length}, transaction ${change.txid}, is ${where < 0 ? 'missing' : `version ${where}`}`,
      `after ${next} of ${written.length} versions; instead ${version ? `change ${instead}` : 'nothing'} was written.`,
      `Expected ${body}, found ${text(version?.body ?? null)}`,
    ].join(' ');
  }
  const version = written[next];
  return version ? `a version that no commit explains: ${text(version.body)} (${next} of ${written.length})` : null;
}

interface OwnedWrite extends Written {
  readonly owner: string;
}

/** A delete carries no body: it is of the patient who was there before. */
function withOwners(writes: readonly Written[]): OwnedWrite[] {
  const owners = new Map<string, string>();
  return writes.map((written) => {
    const who = written.body ? nameOf(written.body) : (owners.get(written.id) ?? '');
    owners.set(written.id, who);
    return { ...written, owner: who };
  });
}

/** A resource changes hands only when its patient was deleted and the next one has one of its identifiers. */
export function judgeOwners(writes: readonly Written[]): string[] {
  const violations: string[] = [];
  const before = new Map<string, { owner: string; body: Body; deleted: boolean }>();
  for (const { id, version, body } of writes) {
    const known = before.get(id);
    if (body === null) {
      if (known) known.deleted = true;
      continue;
    }
    const who = nameOf(body);
    if (known && known.owner !== who) {
      const shared = tokensOf(known.body).includes(tokensOf(body)[0] ?? '');
      if (!known.deleted || !shared)
        violations.push(
          `${who} was written onto the resource ${id} of ${known.owner}, version ${version}: ${text(body)}`,
        );
    }
    before.set(id, { owner: who, body, deleted: body.active === false });
  }
  return violations;
}

/** The server shows what the database holds: each living patient once, with this very content; nobody else as active. */
export function judgeFinalState(oracle: WalOracle, resources: ReadonlyMap<string, Body>): string[] {
  const violations: string[] = [];
  const lastOf = new Map(oracle.changes.map((change) => [change.patientId, change]));
  const active = Map.groupBy(
    [...resources.values()].filter(({ active }) => active !== false),
    nameOf,
  );
  for (const id of oracle.patients.keys()) {
    const found = active.get(owner(id)) ?? [];
    active.delete(owner(id));
    if (found.length !== 1) violations.push(`${owner(id)} is on the server ${found.length} times at the end.`);
    else if (text(found[0] ?? null) !== text(lastOf.get(id)?.body ?? null))
      violations.push(
        `${owner(id)} ends as ${text(found[0] ?? null)} and not as ${text(lastOf.get(id)?.body ?? null)}.`,
      );
  }
  for (const who of active.keys()) violations.push(`${who} is active on the server, and not in the database.`);
  return violations;
}

/** Outbox rows, records, links and dead letters add up. */
export async function judgeRecords({ db }: World): Promise<string[]> {
  const [row] = await ask<Record<string, number>>(
    db,
    `SELECT (SELECT count(*)::int FROM fhir_outbox WHERE NOT processed) AS "outbox rows unprocessed",
            (SELECT count(*)::int FROM fhir_outbox o WHERE fhir_resource_id IS NULL AND operation <> 'D'
                AND NOT EXISTS (SELECT FROM fhir_outbox d WHERE d.txid = o.txid AND d.patient_id = o.patient_id AND d.operation = 'D')
                AND NOT EXISTS (SELECT FROM fhir_dlq q WHERE q.outbox_id = o.id)
                AND NOT EXISTS (SELECT FROM fhir_link l WHERE l.source_id = o.patient_id AND l.last_revision > o.patient_revision
                                   AND o.last_error LIKE 'superseded%')) AS "outbox rows processed without a resource or a dead letter",
            (SELECT count(*)::int FROM (SELECT patient_id, txid, max(patient_revision) AS revision FROM fhir_outbox GROUP BY 1, 2) e
              WHERE NOT EXISTS (SELECT FROM fhir_processed_event p WHERE p.event_key = format('Patient/%s/%s', e.patient_id, e.revision)))
              AS "deliveries without a record",
            (SELECT count(*)::int FROM fhir_dlq WHERE resolved_at IS NULL) AS "dead letters unresolved",
            (SELECT count(*)::int FROM fhir_link l WHERE EXISTS (SELECT FROM patient p WHERE p.id = l.source_id)
                AND l.last_revision <> (SELECT revision FROM fhir_patient_revision r WHERE r.patient_id = l.source_id))
              AS "links behind their patients"`,
  );
  return Object.entries(row ?? {}).flatMap(([what, count]) => (count > 0 ? [`${count} ${what}.`] : []));
}

/** The slot's confirmed position never passed a commit that was unfinished at that moment. */
export function judgeAcknowledged(oracle: WalOracle, passed: ReadonlyMap<number, Lsn>): string[] {
  return [...passed].flatMap(([txid, confirmed]) => {
    const end = oracle.commits.get(txid);
    return end !== undefined && confirmed >= end
      ? [`The slot had confirmed transaction ${txid} before it was finished.`]
      : [];
  });
}

function nameOf(body: Body): string {
  return (body.name as { text?: string }[] | undefined)?.[0]?.text ?? '';
}

function text(body: Body | null): string {
  return JSON.stringify(body);
}
