// What becomes of the slot when a standby is promoted: does the standby have it, and nothing less than what came through it?
import type pg from 'pg';
import { onlyRow } from '../postgres/only-row.ts';
import { type Finding, fault, ok, warning } from './finding.ts';

interface Facts {
  /** Null where there is no slot yet, or PostgreSQL is older than 17. */
  failover: boolean | null;
  /** Physical slots, as standbys have them. */
  physical: string[];
  /** In synchronized_standby_slots. */
  named: string[];
  /** Of `named`, those without such a slot. */
  absent: string[];
  /** Of `named`, those whose slot nobody reads. */
  unread: string[];
}

/** PostgreSQL 17 on: https://www.postgresql.org/docs/current/logicaldecoding-explanation.html#LOGICALDECODING-REPLICATION-SLOTS-SYNCHRONIZATION */
export async function failoverFindings(client: pg.Client, slot: string): Promise<Finding[]> {
  const facts = onlyRow(await client.query<Facts>(FACTS, [slot]));
  if (facts.failover === null) return [];
  if (!facts.failover) {
    return [
      warning('Failover slot', `${slot} is not a failover slot: no standby can have it.`, {
        say: 'Restart the connector: it makes it one.',
      }),
    ];
  }
  return [ok('Failover slot', `${slot} is a failover slot.`), ...standbyFindings(facts)];
}

/** https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-SYNCHRONIZED-STANDBY-SLOTS */
function standbyFindings({ physical, named, absent, unread }: Facts): Finding[] {
  const check = 'synchronized_standby_slots';
  if (absent.length > 0) {
    const found = `It names ${absent.join(', ')}, and there is no such physical slot: nothing comes through the slot.`;
    return [
      fault(check, found, {
        say: 'Make that slot for its standby (pg_create_physical_replication_slot); or, as a superuser, take it off the list.',
        sql: setTo(named.filter((name) => !absent.includes(name))),
      }),
    ];
  }
  if (unread.length > 0) {
    const found = `It names ${unread.join(', ')}, which no standby reads: nothing comes through the slot meanwhile.`;
    return [
      fault(check, found, {
        say: 'Start that standby, with the slot as its primary_slot_name; or, as a superuser, take it off the list.',
        sql: setTo(named.filter((name) => !unread.includes(name))),
      }),
    ];
  }
  const unnamed = physical.filter((name) => !named.includes(name));
  if (unnamed.length > 0) {
    const found = `It does not name ${unnamed.join(', ')}: what was delivered may be missing on that standby when it is promoted.`;
    return [
      warning(check, found, {
        say: 'If it is the slot of a standby that may be promoted, run this as a superuser. While that standby is away nothing is delivered then.',
        sql: setTo([...named, ...unnamed]),
      }),
    ];
  }
  return named.length === 0 ? [] : [ok(check, `It names ${named.join(', ')}.`)];
}

function setTo(names: readonly string[]): string {
  return `ALTER SYSTEM SET synchronized_standby_slots = '${names.join(', ')}';\nSELECT pg_reload_conf();`;
}

/** By a detour, since before 17 there is neither the column nor the setting. On a standby nobody waits for standbys. */
const FACTS = `
  WITH physical AS (SELECT slot_name::text AS name, active FROM pg_replication_slots WHERE slot_type = 'physical' AND wal_status IS DISTINCT FROM 'lost'),
       named AS (SELECT item AS name FROM pg_settings, regexp_split_to_table(setting, '[\\s,"]+') AS item
                  WHERE name = 'synchronized_standby_slots' AND item <> '')
  SELECT (SELECT (to_jsonb(s) ->> 'failover')::bool FROM pg_replication_slots s
           WHERE slot_name = $1 AND database = current_database() AND NOT pg_is_in_recovery()) AS failover,
         ARRAY(SELECT name FROM physical ORDER BY name) AS physical,
         ARRAY(SELECT name FROM named) AS named,
         ARRAY(SELECT name FROM named WHERE name NOT IN (SELECT name FROM physical)) AS absent,
         ARRAY(SELECT name FROM named JOIN physical USING (name) WHERE NOT active) AS unread`;
