// The slot: is it ours, is it read, and what does it keep?
import type pg from 'pg';
import { LEAST_HEADROOM } from '../metrics/facts.ts';
import { errorCode } from '../postgres/errors.ts';
import { onlyRow } from '../postgres/only-row.ts';
import { filterOf, type Shard } from '../shard.ts';
import { type Finding, fault, ok, warning } from './finding.ts';
import { makingFinding } from './making.ts';

interface SlotFacts {
  found: boolean;
  kind: string;
  here: boolean;
  in_database: string | null;
  active: boolean;
  wal_status: string | null;
  kept: string | null;
  headroom: number | null;
  /** The process in which PostgreSQL is making it; null when it is made. */
  maker: number | null;
}

interface Before {
  caught_up: boolean;
  waiting: number;
}

/** https://www.postgresql.org/docs/current/view-pg-replication-slots.html ; `hasSchema`: the connector's tables are there. */
export async function slotFinding(client: pg.Client, slot: string, shard: Shard, hasSchema: boolean): Promise<Finding> {
  const check = 'Slot';
  const result = await client.query<SlotFacts>(
    `SELECT s.slot_name IS NOT NULL AS found, concat_ws(' ', s.slot_type, s.plugin) AS kind,
            coalesce(s.database = current_database(), false) AS here, s.database AS in_database,
            coalesce(s.active, false) AS active, s.wal_status,
            CASE WHEN s.confirmed_flush_lsn IS NULL THEN s.active_pid END AS maker,
            CASE WHEN NOT pg_is_in_recovery() THEN pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)) END AS kept,
            CASE WHEN NOT pg_is_in_recovery() AND s.safe_wal_size IS NOT NULL
                 THEN (s.safe_wal_size / nullif(s.safe_wal_size + pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0))::float8 END AS headroom
       FROM (SELECT) AS one LEFT JOIN pg_replication_slots s ON s.slot_name = $1`,
    [slot],
  );
  const facts = onlyRow(result);
  const { found, kind, here, active, headroom } = facts;
  const before = hasSchema ? await whatWas(client, slot, shard) : null;
  const waiting = before?.waiting ?? 0;
  const wait =
    hasSchema && before === null
      ? 'what waits in the outbox PostgreSQL did not tell'
      : waiting === 1
        ? '1 outbox row waits'
        : `${waiting} outbox rows wait`;
  const start = { say: 'Start the connector; its log says what keeps it from the slot.' };
  if (!found) {
    return before?.caught_up
      ? warning(check, `${slot} is gone, and was there; ${wait}.`, {
          say: 'Start the connector: it makes the slot anew and delivers first what waits.',
        })
      : ok(check, `There is no slot ${slot} yet: the connector makes it when it starts.`);
  }
  // Of no statement that drops it: with a wrong DB_NAME it would take the slot that a connector lives by.
  if (kind === 'logical pgoutput' && !here) {
    return fault(check, `${slot} serves another database (${facts.in_database}).`, {
      say: 'Is DB_NAME right? If it is, set SLOT_NAME to a name of its own.',
    });
  }
  if (kind !== 'logical pgoutput') {
    return fault(check, `${slot} is a slot of another kind (${kind}).`, {
      say: `Set SLOT_NAME to a name of its own; or, if nobody needs that slot, run this.`,
      sql: `SELECT pg_drop_replication_slot(${client.escapeLiteral(slot)});`,
    });
  }
  if (facts.wal_status === 'lost') {
    return warning(check, `${slot} is lost: PostgreSQL has removed WAL that it needs; ${wait}.`, {
      say: 'Start the connector: it makes the slot anew and delivers first what waits.',
    });
  }
  if (facts.maker !== null) return makingFinding(client, facts.maker, check, slot, wait);
  const keeps = `keeps ${facts.kept ?? 'an unknown amount'} of WAL`;
  if (!active && waiting > 0) return fault(check, `Nobody reads ${slot}; ${wait}, and it ${keeps}.`, start);
  if (!active) return warning(check, `Nobody reads ${slot}, and it ${keeps}.`, start);
  if (facts.wal_status === 'unreserved' || (headroom !== null && headroom < LEAST_HEADROOM)) {
    return fault(check, `${slot} is about to be given up (wal_status ${facts.wal_status}); it ${keeps}.`, {
      say: 'Mend what keeps the connector from delivering: docs/runbook.md, WalHeadroom.',
    });
  }
  return ok(check, `${slot} is read; it ${keeps}, and ${wait}.`);
}

/** Null where PostgreSQL does not tell (no right, a backlog too long to count): the slot is told of all the same. */
async function whatWas(client: pg.Client, slot: string, shard: Shard): Promise<Before | null> {
  const { rows } = await client
    .query<Before>(
      `SELECT EXISTS (SELECT FROM public.fhir_slot WHERE slot_name = $1 AND caught_up_at IS NOT NULL) AS caught_up,
              (SELECT count(*) FROM public.fhir_outbox WHERE NOT processed AND ${filterOf(shard)})::int AS waiting`,
      [slot],
    )
    .catch((error) => {
      if (errorCode(error) === null) throw error;
      return { rows: [] };
    });
  return rows[0] ?? null;
}
