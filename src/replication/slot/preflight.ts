// What must be true of the database before a slot can be read; each failing check says the statement that mends it.
import type pg from 'pg';
import { FatalError } from '../../fatal.ts';
import { OLDEST_VERSION } from '../../postgres/client.ts';
import { onlyRow } from '../../postgres/only-row.ts';
import { RAISE_WAL_LEVEL } from '../../postgres/wal-level.ts';
import { giveReplication, MAY_REPLICATE } from './may-replicate.ts';

interface Facts {
  version: number;
  version_text: string;
  wal_level: string;
  may_replicate: boolean;
  user_name: string;
  in_recovery: boolean;
  has_outbox: boolean;
  is_current: boolean;
}

/** Resolves to false while the server is a standby in recovery (it may be promoted). Throws a FatalError on what waiting cannot mend. */
export async function preflight(control: pg.Client): Promise<boolean> {
  const facts = onlyRow(
    await control.query<Facts>(`
    SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS version_text,
           current_setting('wal_level') AS wal_level, current_user AS user_name,
           ${MAY_REPLICATE} AS may_replicate,
           pg_is_in_recovery() AS in_recovery, to_regclass('public.fhir_outbox') IS NOT NULL AS has_outbox,
           to_regprocedure('public.fhir_ensure_publication(text, integer, integer)') IS NOT NULL AS is_current`),
  );
  if (facts.version < OLDEST_VERSION) {
    throw new FatalError(
      `PostgreSQL ${facts.version_text} is too old: the connector needs PostgreSQL 15 or newer. Upgrade the server.`,
    );
  }
  if (facts.wal_level !== 'logical') {
    throw new FatalError(`PostgreSQL runs with wal_level=${facts.wal_level}: ${RAISE_WAL_LEVEL}`);
  }
  if (!facts.may_replicate) {
    const { attribute, onRds } = giveReplication(`"${facts.user_name}"`);
    throw new FatalError(
      `The user may not read a replication slot. Run, as a superuser: ${attribute}; or, on Amazon RDS and Aurora: ${onRds}`,
    );
  }
  if (facts.in_recovery) return false;
  if (!facts.has_outbox) {
    throw new FatalError('The database has no table fhir_outbox yet. Run: npm run connector -- migrate');
  }
  if (!facts.is_current) {
    throw new FatalError("The database's schema is older than this connector. Run: npm run connector -- migrate");
  }
  return true;
}
