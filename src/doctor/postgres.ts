// The PostgreSQL server: is it one that logical replication works on, with room for this connector, and bounded in what it keeps?
import type pg from 'pg';
import { OLDEST_VERSION } from '../postgres/client.ts';
import { onlyRow } from '../postgres/only-row.ts';
import { type Finding, type Fix, fault, ok, warning } from './finding.ts';

interface Facts {
  version: number;
  version_text: string;
  backend_pid: number;
  in_recovery: boolean;
  wal_level: string;
  slots: number;
  max_slots: number;
  ours_exists: boolean;
  senders: number;
  max_senders: number;
  ours_active: boolean;
  keep_mb: number;
  idle_timeout_s: number;
}

/** A slot that nobody reads grows to this; a hospital writes as much in a few hours of heavy work. */
const KEEP = '8GB';
const RESTART = 'and restart PostgreSQL';
/** Slots and senders, for this connector and the next ones. */
const MORE = 4;

export async function serverFindings(client: pg.Client, slot: string): Promise<Finding[]> {
  // A setting that the server does not know yet has no row in pg_settings.
  const result = await client.query<Facts>(
    `SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS version_text,
            pg_backend_pid() AS backend_pid, pg_is_in_recovery() AS in_recovery, current_setting('wal_level') AS wal_level,
            (SELECT count(*) FROM pg_replication_slots)::int AS slots, current_setting('max_replication_slots')::int AS max_slots,
            EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1) AS ours_exists,
            (SELECT count(*) FROM pg_stat_replication)::int AS senders, current_setting('max_wal_senders')::int AS max_senders,
            coalesce((SELECT active FROM pg_replication_slots WHERE slot_name = $1), false) AS ours_active,
            (SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size')::int AS keep_mb,
            coalesce((SELECT setting FROM pg_settings WHERE name = 'idle_replication_slot_timeout')::int, 0) AS idle_timeout_s`,
    [slot],
  );
  const facts = onlyRow(result);
  return [
    version(facts),
    direct(facts, client),
    ...(facts.in_recovery ? [recovery()] : []),
    walLevel(facts),
    // https://www.postgresql.org/docs/current/runtime-config-replication.html
    room('Replication slots', facts.slots, facts.max_slots, facts.ours_exists, {
      say: `Drop a slot that nobody needs, or, as a superuser, run this ${RESTART}.`,
      sql: `ALTER SYSTEM SET max_replication_slots = ${facts.max_slots + MORE};`,
    }),
    room('WAL senders', facts.senders, facts.max_senders, facts.ours_active, {
      say: `As a superuser, run this ${RESTART}.`,
      sql: `ALTER SYSTEM SET max_wal_senders = ${facts.max_senders + MORE};`,
    }),
    keepSize(facts),
    ...idleTimeout(facts),
  ];
}

function version({ version, version_text: text }: Facts): Finding {
  const check = 'PostgreSQL version';
  if (version >= OLDEST_VERSION) return ok(check, `PostgreSQL ${text}.`);
  return fault(check, `PostgreSQL ${text} is too old.`, { say: 'Upgrade the server to PostgreSQL 15 or newer.' });
}

/** A pooler answers with a key of its own for the connection; replication needs the server itself. */
function direct({ backend_pid: pid }: Facts, client: pg.Client): Finding {
  const check = 'Direct connection';
  const { processID: told } = client as pg.Client & { processID: number };
  if (told === pid) return ok(check, 'DB_HOST and DB_PORT lead to PostgreSQL itself.');
  return fault(check, 'Between the connector and PostgreSQL is a pooler, such as PgBouncer.', {
    say: 'Set DB_HOST and DB_PORT to PostgreSQL itself: a pooler does not carry logical replication.',
  });
}

function recovery(): Finding {
  return warning('Primary', 'The server is a standby in recovery: a connector waits until it is promoted.', {
    say: 'Set DB_HOST to the primary, unless this one is about to be promoted.',
  });
}

/** https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-WAL-LEVEL */
function walLevel({ wal_level: level }: Facts): Finding {
  const check = 'wal_level';
  if (level === 'logical') return ok(check, 'wal_level is logical.');
  return fault(check, `wal_level is ${level}; logical decoding needs more.`, {
    say: `As a superuser, run this ${RESTART}.`,
    sql: "ALTER SYSTEM SET wal_level = 'logical';",
  });
}

function room(check: string, used: number, most: number, ours: boolean, fix: Fix): Finding {
  if (ours || used < most) return ok(check, `${used} of ${most} are in use${ours ? ', ours among them' : ''}.`);
  return fault(check, `All ${most} are in use, and ours is not among them.`, fix);
}

/** https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-MAX-SLOT-WAL-KEEP-SIZE */
function keepSize({ keep_mb: megabytes }: Facts): Finding {
  const check = 'max_slot_wal_keep_size';
  if (megabytes >= 0) return ok(check, `A slot that nobody reads keeps ${megabytes} MB of WAL at most.`);
  return warning(check, 'It is not set: a connector that stays away fills the disk, and PostgreSQL stops.', {
    say: 'As a superuser, run this; choose what the disk has room for. A slot that is given up costs a catch-up, and no data.',
    sql: `ALTER SYSTEM SET max_slot_wal_keep_size = '${KEEP}';\nSELECT pg_reload_conf();`,
  });
}

/** PostgreSQL 18 on: https://www.postgresql.org/docs/18/runtime-config-replication.html#GUC-IDLE-REPLICATION-SLOT-TIMEOUT */
function idleTimeout({ idle_timeout_s: seconds }: Facts): Finding[] {
  if (seconds === 0) return [];
  return [
    warning(
      'idle_replication_slot_timeout',
      `PostgreSQL gives a slot up that nobody has read for ${seconds} s, whether or not the disk has room.`,
      {
        say: 'As a superuser, run this; max_slot_wal_keep_size bounds the disk.',
        sql: 'ALTER SYSTEM SET idle_replication_slot_timeout = 0;\nSELECT pg_reload_conf();',
      },
    ),
  ];
}
