// The publication: does it hand out what the triggers write, for this shard and nothing else?
import type pg from 'pg';
import { onlyRow } from '../postgres/only-row.ts';
import { filterOf, type Shard } from '../shard.ts';
import { type Finding, fault, listed, ok, warning } from './finding.ts';

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

/** https://www.postgresql.org/docs/current/logical-replication-publication.html ; asked where the schema is there. */
export async function publicationFinding(client: pg.Client, publication: string, shard: Shard): Promise<Finding> {
  const check = 'Publication';
  const result = await client.query<PublicationFacts>(
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
  const facts = onlyRow(result);
  const name = client.escapeIdentifier(publication);
  const filter = shard.count === 1 ? null : filterOf(shard);
  const asTable = `public.fhir_outbox${filter === null ? '' : ` WHERE (${filter})`}`;
  const asOwner =
    "As the publication's owner, run this, and restart the connector: it delivers what the slot did not hand out.";
  if (!facts.found) {
    const found = `There is no publication ${publication} (PUBLICATION_NAME).`;
    if (facts.may_make) return ok(check, `${found} The connector makes it when it starts.`);
    const { database } = onlyRow(
      await client.query<{ database: string }>('SELECT quote_ident(current_database()) AS database'),
    );
    return fault(check, found, {
      say: 'As a superuser, run this.',
      sql: `GRANT CREATE ON DATABASE ${database} TO ${facts.maker};\nSELECT public.fhir_ensure_publication(${client.escapeLiteral(publication)}, ${shard.count}, ${shard.index});`,
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
    return warning(
      check,
      `${publication} also has ${listed(facts.others)}: the connector reads those rows and throws them away.`,
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
