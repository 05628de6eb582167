// Connectors of another SHARD_COUNT divide the same patients in another way: the two never work at the same time, and what the others left behind goes.
import type pg from 'pg';
import type { Logger } from 'pino';
import { errorCode } from '../../postgres/errors.ts';
import { isOfAnotherCount } from '../../shard.ts';
import { WAL_SENDER_TIMEOUT_MS } from '../stream/connection.ts';
import type { SlotSettings } from './slot-settings.ts';

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const UNDEFINED_OBJECT = '42704';
const OBJECT_IN_USE = '55006';

/** First of two numbers of an advisory lock: the second is the count. It is the name's own, so that it says which outbox it is. */
const countLock = (slotBase: string) => `hashtext('fhir-connector shards of ${slotBase}')`;

interface Joining {
  joined: boolean;
  /** Sessions of others that were silent. */
  ended: number;
}

/**
 * Joins the connectors that work with this number of shards; false while others work with another one. Who has joined keeps a
 * shared lock for the whole session. Before it asks for that, it takes a lock of which there is one for all, for a moment: of two
 * that come at the same time, the later one sees the earlier. All of it goes to the server in one message, so nobody can be
 * stopped in between. A connector from before there were shards knows only the lock of the only slot: so several shards
 * share that one as well, and `tenureLock` is its first number.
 */
export async function joinCount(
  control: pg.Client,
  { slotBase, shard: { count } }: SlotSettings,
  tenureLock: number,
  log: Logger,
): Promise<boolean> {
  const { rows: active } = await control.query<{ name: string }>(
    'SELECT slot_name AS name FROM pg_replication_slots WHERE active AND database = current_database()',
  );
  // Of before there was this lock, or dead, and PostgreSQL has not noticed yet.
  if (active.some(({ name }) => isOfAnotherCount(name, slotBase, count))) return false;
  const lock = countLock(slotBase);
  const held = `l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = (${lock}::bigint & 4294967295)::oid
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.objid <> ${count}::oid`;
  const results = (await control.query(`
    BEGIN;
    SELECT pg_advisory_xact_lock(${lock}, 0);
    SELECT CASE WHEN EXISTS (SELECT FROM pg_locks l WHERE ${held} AND l.objid <> 0) THEN false
                WHEN ${count} > 1 AND NOT pg_try_advisory_lock_shared(${tenureLock}, hashtext('${slotBase}')) THEN false
                ELSE (SELECT true FROM pg_advisory_lock_shared(${lock}, ${count})) END AS joined,
           (SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid))::int FROM pg_stat_activity a
             WHERE a.pid <> pg_backend_pid() AND a.query_start < clock_timestamp() - ${WAL_SENDER_TIMEOUT_MS} * interval '1 millisecond'
               AND a.pid IN (SELECT l.pid FROM pg_locks l WHERE ${held})) AS ended;
    COMMIT`)) as unknown as pg.QueryResult<Joining>[];
  const [row] = results[2]?.rows ?? [];
  if (row?.ended)
    log.warn({ slot: slotBase }, 'Ended the sessions of connectors of another SHARD_COUNT that were silent.');
  return row?.joined === true;
}

/** Slots first: a publication must not go under its slot. What cannot go now goes at the next start of any connector. */
export async function dropOtherCounts(
  control: pg.Client,
  { slotBase, publicationBase, shard: { count } }: SlotSettings,
  log: Logger,
): Promise<void> {
  const { rows: slots } = await control.query<{ name: string }>(
    'SELECT slot_name AS name FROM pg_replication_slots WHERE NOT active AND database = current_database()',
  );
  for (const { name } of slots.filter((each) => isOfAnotherCount(each.name, slotBase, count)))
    await drop(control, 'slot', name, log, 'SELECT pg_drop_replication_slot($1)');
  const { rows: publications } = await control.query<{ name: string }>('SELECT pubname AS name FROM pg_publication');
  for (const { name } of publications.filter((each) => isOfAnotherCount(each.name, publicationBase, count)))
    await drop(control, 'publication', name, log, 'SELECT fhir_drop_publication($1)');
}

async function drop(control: pg.Client, kind: string, name: string, log: Logger, statement: string): Promise<void> {
  try {
    await control.query(statement, [name]);
    log.info({ [kind]: name }, `Dropped a ${kind} of another SHARD_COUNT.`);
  } catch (error) {
    const code = errorCode(error);
    if (code === null) throw error;
    // Another connector was quicker.
    if (code === UNDEFINED_OBJECT || code === OBJECT_IN_USE) return;
    log.warn(
      { [kind]: name, code },
      `A ${kind} of another SHARD_COUNT could not be dropped, and a slot that nobody reads keeps WAL without end: drop it.`,
    );
  }
}
