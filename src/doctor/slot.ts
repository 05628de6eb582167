// The publication and the slot: is what the triggers write handed out, to us, and is it read?
import type pg from 'pg';
import { errorCode } from '../postgres/errors.ts';
import { filterOf, type Shard } from '../shard.ts';
import { type Finding, fault, ok, warning } from './finding.ts';

interface PublicationFacts {
  found: boolean;
  inserts: boolean;
  outbox: boolean;
  /** Null for none. */
  filter: string | null;
  others: string[];
  all_tables: boolean;
  may_make: boolean;
  maker: string;
}

interface SlotFacts {
  found: boolean;
  kind: string;
  here: boolean;
  in_database: string | null;
  active: boolean;
  wal_status: string | null;
  kept: string | null;
  headroom: number | null;
  /** PostgreSQL is making it. */
  making: boolean;
  /** The process whose transaction that waits for; 0 where it is a prepared one, null where it waits for none. */
  waits_for: number | null;
}

interface Before {
  caught_up: boolean;
  waiting: number;
}

/** As the alert WalHeadroom has it. */
const LEAST_HEADROOM = 0.25;
const MOST_NAMED = 5;

/** https://www.postgresql.org/docs/current/logical-replication-publication.html ; asked where the schema is there. */
export async function publicationFinding(client: pg.Client, publication: string, shard: Shard): Promise<Finding> {
  const check = 'Publication';
  const { rows } = await client.query<PublicationFacts>(
    `SELECT p.oid IS NOT NULL AS found, coalesce(p.pubinsert, false) AS inserts,
            coalesce(bool_or(t.tablename = 'fhir_outbox' AND t.schemaname = 'public'), false) AS outbox,
            max(t.rowfilter) FILTER (WHERE t.tablename = 'fhir_outbox') AS filter,
            coalesce(array_agg(t.tablename::text) FILTER (WHERE t.tablename <> 'fhir_outbox'), '{}') AS others,
            coalesce(p.puballtables, false) AS all_tables,
            -- Made by a function with its owner's rights.
            coalesce((SELECT has_database_privilege(f.proowner, current_database(), 'CREATE') AND has_function_privilege(f.oid, 'EXECUTE')
                        FROM pg_proc f WHERE f.oid = to_regprocedure('public.fhir_ensure_publication(text, integer, integer)')), false) AS may_make,
            (SELECT f.proowner::regrole::text FROM pg_proc f WHERE f.oid = to_regprocedure('public.fhir_ensure_publication(text, integer, integer)')) AS maker
       FROM (SELECT $1::name AS name) AS asked LEFT JOIN pg_publication p ON p.pubname = asked.name
       LEFT JOIN pg_publication_tables t ON t.pubname = p.pubname GROUP BY p.oid, p.pubinsert, p.puballtables`,
    [publication],
  );
  const [facts] = rows;
  if (!facts) throw new Error('PostgreSQL gave no row.');
  const name = client.escapeIdentifier(publication);
  const filter = shard.count === 1 ? null : filterOf(shard);
  const asTable = `public.fhir_outbox${filter === null ? '' : ` WHERE (${filter})`}`;
  const asOwner =
    "As the publication's owner, run this, and restart the connector: it delivers what the slot did not hand out.";
  if (!facts.found) {
    const found = `There is no publication ${publication} (PUBLICATION_NAME).`;
    if (facts.may_make) return ok(check, `${found} The connector makes it when it starts.`);
    const { rows: names } = await client.query<{ database: string }>(
      'SELECT quote_ident(current_database()) AS database',
    );
    return fault(check, found, {
      say: 'As a superuser, run this.',
      sql: `GRANT CREATE ON DATABASE ${names[0]?.database} TO ${facts.maker};\nSELECT public.fhir_ensure_publication(${client.escapeLiteral(publication)}, ${shard.count}, ${shard.index});`,
    });
  }
  if (!facts.inserts) {
    return fault(check, `${publication} does not publish inserts: the slot hands out nothing of fhir_outbox.`, {
      say: asOwner,
      sql: `ALTER PUBLICATION ${name} SET (publish = 'insert');`,
    });
  }
  if (facts.all_tables) {
    return warning(check, `${publication} has all tables: the connector reads their rows and throws them away.`, {
      say: 'Set PUBLICATION_NAME to a name of its own, which the connector makes; the slot is then made anew as well.',
    });
  }
  if (!facts.outbox) {
    return fault(check, `${publication} does not have fhir_outbox: the slot hands out nothing of it.`, {
      say: asOwner,
      sql: `ALTER PUBLICATION ${name} ADD TABLE ${asTable};`,
    });
  }
  if (bare(facts.filter) !== bare(filter)) {
    return fault(check, `${publication} ${wrongFilter(facts.filter, filter)}`, {
      say: asOwner,
      sql: `ALTER PUBLICATION ${name} SET TABLE ${asTable};`,
    });
  }
  if (facts.others.length > 0) {
    const more = facts.others.length > MOST_NAMED ? ` and ${facts.others.length - MOST_NAMED} more` : '';
    return warning(
      check,
      `${publication} also has ${facts.others.slice(0, MOST_NAMED).join(', ')}${more}: the connector reads those rows and throws them away.`,
      { say: "As the publication's owner, run this.", sql: `ALTER PUBLICATION ${name} SET TABLE ${asTable};` },
    );
  }
  return ok(check, `${publication} publishes what is inserted into fhir_outbox.`);
}

function wrongFilter(has: string | null, needs: string | null): string {
  if (needs === null) return 'has a row filter on fhir_outbox: what it leaves out is not delivered in time.';
  if (has === null)
    return 'has no row filter on fhir_outbox, and needs that of its shard: it hands out what other connectors deliver.';
  return 'has another row filter on fhir_outbox than that of its shard: it hands out what other connectors deliver, and not what is its own.';
}

/** PostgreSQL adds parentheses. */
function bare(filter: string | null): string | null {
  return filter === null ? null : filter.replace(/[()\s]/g, '').toLowerCase();
}

/** https://www.postgresql.org/docs/current/view-pg-replication-slots.html ; `hasSchema`: the connector's tables are there. */
export async function slotFinding(client: pg.Client, slot: string, shard: Shard, hasSchema: boolean): Promise<Finding> {
  const check = 'Slot';
  const { rows } = await client.query<SlotFacts>(
    `SELECT s.slot_name IS NOT NULL AS found, concat_ws(' ', s.slot_type, s.plugin) AS kind,
            coalesce(s.database = current_database(), false) AS here, s.database AS in_database,
            coalesce(s.active, false) AS active, s.wal_status,
            coalesce(s.active AND s.confirmed_flush_lsn IS NULL, false) AS making,
            CASE WHEN s.confirmed_flush_lsn IS NULL THEN (pg_blocking_pids(s.active_pid))[1] END AS waits_for,
            CASE WHEN NOT pg_is_in_recovery() THEN pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)) END AS kept,
            CASE WHEN NOT pg_is_in_recovery() AND s.safe_wal_size IS NOT NULL
                 THEN (s.safe_wal_size / nullif(s.safe_wal_size + pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0))::float8 END AS headroom
       FROM (SELECT) AS one LEFT JOIN pg_replication_slots s ON s.slot_name = $1`,
    [slot],
  );
  const [facts] = rows;
  if (!facts) throw new Error('PostgreSQL gave no row.');
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
  if (kind !== 'logical pgoutput' || !here) {
    const whose =
      kind === 'logical pgoutput'
        ? `serves another database (${facts.in_database})`
        : `is a slot of another kind (${kind})`;
    return fault(check, `${slot} ${whose}.`, {
      say: `Set SLOT_NAME to a name of its own; or, if nobody needs that slot, run this.`,
      sql: `SELECT pg_drop_replication_slot(${client.escapeLiteral(slot)});`,
    });
  }
  if (facts.wal_status === 'lost') {
    return warning(check, `${slot} is lost: PostgreSQL has removed WAL that it needs; ${wait}.`, {
      say: 'Start the connector: it makes the slot anew and delivers first what waits.',
    });
  }
  if (facts.making) return makingFinding(check, slot, wait, facts.waits_for);
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

/** Nothing is delivered meanwhile; `waitsFor` as SlotFacts has it. */
function makingFinding(check: string, slot: string, wait: string, waitsFor: number | null): Finding {
  if (waitsFor === null)
    return warning(check, `PostgreSQL makes ${slot}; ${wait}.`, { say: 'It takes a moment: look again.' });
  return fault(check, `PostgreSQL makes ${slot}, and waits for a transaction that was open before; ${wait}.`, {
    say: 'It ends by itself when that transaction does. If nobody needs it, end it, as a superuser.',
    sql:
      waitsFor === 0
        ? 'SELECT gid, prepared, owner, database FROM pg_prepared_xacts; -- then ROLLBACK PREPARED or COMMIT PREPARED'
        : `SELECT pg_terminate_backend(${waitsFor});`,
  });
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
