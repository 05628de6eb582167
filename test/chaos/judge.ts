// The judgement: what the WAL says was committed against what the FHIR server's ledger and the connector's records show.
import type { Lsn } from '../../src/postgres/lsn.ts';
import { type Body, referencesIn, tokensOf, type Written } from '../support/fhir-ledger.ts';
import type { Change, WalOracle } from './oracle.ts';
import { whoIs } from './workload.ts';
import { ask, type World } from './world.ts';

/** A delivery that ended as a dead letter: whose and of which transaction. */
type Dead = ReadonlySet<string>;

export async function deadLetters({ db }: World): Promise<Dead> {
  const rows = await ask<{ source_table: string; source_id: string; txid: string }>(
    db,
    'SELECT source_table, source_id, txid FROM fhir_dlq',
  );
  return new Set(rows.map(({ source_table, source_id, txid }) => `${whoIs(source_table, Number(source_id))}/${txid}`));
}

/** Each row's versions are its commits, in order, each that was not dead-lettered; none twice. */
export function judgeVersions(oracle: WalOracle, writes: readonly Written[], dead: Dead): string[] {
  const violations: string[] = [];
  const expected = Map.groupBy(oracle.changes, ({ who }) => who);
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
    if (body === last || change.optional || dead.has(`${change.who}/${change.txid}`)) continue;
    if (change.body === null && last === null) continue;
    if (change.body && isWithdrawn(change.body) && last === null) continue;
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

/** A delete carries no body: it is of whom the resource was before. A reference is told by whose resource it was at that time. */
function withOwners(writes: readonly Written[]): OwnedWrite[] {
  const owners = new Map<string, string>();
  return writes.map((written) => {
    const who = written.body ? nameOf(written.body) : (owners.get(written.id) ?? '');
    owners.set(written.id, who);
    return { ...written, body: written.body && comparable(written.body, owners), owner: who };
  });
}

/** Of moments the oracle has only what the client made of them, so they are left out. */
function comparable(body: Body, owners: ReadonlyMap<string, string>): Body {
  const { effectiveDateTime: _time, period: _period, ...rest } = body;
  if (referencesIn(body).length === 0) return rest;
  return Object.fromEntries(
    Object.entries(rest).map(([element, value]) => {
      const { reference } = (value ?? {}) as { reference?: string };
      return [element, reference === undefined ? value : { reference: owners.get(reference.split('/')[1] ?? '') }];
    }),
  );
}

function isWithdrawn({ active, status }: Body): boolean {
  return active === false || status === 'entered-in-error';
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
    before.set(id, { owner: who, body, deleted: isWithdrawn(body) });
  }
  return violations;
}

/** The server shows what the database holds: each row once, with this very content; nothing else that is not withdrawn. */
export function judgeFinalState(oracle: WalOracle, resources: ReadonlyMap<string, Body>): string[] {
  const violations: string[] = [];
  const lastOf = new Map(oracle.changes.map((change) => [change.who, change]));
  const owners = new Map([...resources].map(([id, body]) => [id, nameOf(body)]));
  const living = Map.groupBy(
    [...resources.values()].filter((body) => !isWithdrawn(body)),
    nameOf,
  );
  for (const who of oracle.rows.keys()) {
    const [found, ...more] = living.get(who) ?? [];
    living.delete(who);
    const [is, expected] = [text(found ? comparable(found, owners) : null), text(lastOf.get(who)?.body ?? null)];
    if (!found || more.length > 0)
      violations.push(`${who} is on the server ${found ? more.length + 1 : 0} times at the end.`);
    else if (is !== expected) violations.push(`${who} ends as ${is} and not as ${expected}.`);
  }
  for (const who of living.keys()) violations.push(`${who} is active on the server, and not in the database.`);
  return violations;
}

/** Outbox rows, records, links and dead letters add up. */
export async function judgeRecords({ db }: World): Promise<string[]> {
  const [row] = await ask<Record<string, number>>(
    db,
    `SELECT (SELECT count(*)::int FROM fhir_outbox WHERE NOT processed) AS "outbox rows unprocessed",
            (SELECT count(*)::int FROM fhir_outbox o WHERE fhir_resource_id IS NULL AND operation <> 'D'
                AND NOT EXISTS (SELECT FROM fhir_outbox d WHERE d.txid = o.txid AND d.operation = 'D'
                                   AND CASE WHEN o.table_name LIKE 'patient%' THEN d.patient_id = o.patient_id
                                       ELSE (d.table_name, d.record_id) = (o.table_name, o.record_id) END)
                AND NOT EXISTS (SELECT FROM fhir_dlq q WHERE q.outbox_id = o.id)
                AND o.last_error IS DISTINCT FROM 'superseded by a newer state') AS "outbox rows processed without a resource or a dead letter",
            (SELECT count(*)::int FROM (
               SELECT CASE WHEN table_name LIKE 'patient%' THEN format('Patient/%s', patient_id) ELSE format('%s/%s', table_name, record_id) END AS key,
                      txid, max(patient_revision) AS revision FROM fhir_outbox GROUP BY 1, 2) e
              WHERE NOT EXISTS (SELECT FROM fhir_processed_event p WHERE p.event_key = format('%s/%s', e.key, e.revision)))
              AS "deliveries without a record",
            (SELECT count(*)::int FROM fhir_dlq WHERE resolved_at IS NULL) AS "dead letters unresolved",
            (SELECT count(*)::int FROM fhir_link l WHERE l.deleted_at IS NULL AND l.last_revision <> fhir_revision(l.source_table, l.source_id))
              AS "links behind their rows"`,
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

/** Of a patient the name says it, of all else the identifier that we gave it. */
export function nameOf(body: Body): string {
  if (body.resourceType === 'Patient') return (body.name as { text?: string }[] | undefined)?.[0]?.text ?? '';
  return (body.identifier as { value?: string }[] | undefined)?.[0]?.value?.replace('/', ' ') ?? '';
}

function text(body: Body | null): string {
  return JSON.stringify(body);
}
