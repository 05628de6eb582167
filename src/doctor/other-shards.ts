// The other shards: does somebody serve each, and do no connectors of another number of shards work on the outbox?
import type pg from 'pg';
import { isOfAnotherCount, nameOf, type Shard } from '../shard.ts';
import { type Finding, listed, ok, warning } from './finding.ts';

const CHECK = 'Other shards';

/** `base` is what the names of all shards' slots are made of. Nothing is said where there is one shard and all is well. */
export async function otherShardsFindings(client: pg.Client, base: string, shard: Shard): Promise<Finding[]> {
  const { rows } = await client.query<{ name: string; active: boolean }>(
    'SELECT slot_name AS name, active FROM pg_replication_slots WHERE database = current_database() ORDER BY 1',
  );
  const foreign = rows.filter(({ name }) => isOfAnotherCount(name, base, shard.count));
  const working = foreign.filter(({ active }) => active);
  if (working.length > 0) {
    const found = `Connectors with another SHARD_COUNT read ${listed(working.map(({ name }) => name))}: with this one a connector stands by.`;
    return [warning(CHECK, found, { say: 'Set SHARD_COUNT as they have it; or, to have this number, end them.' })];
  }
  if (foreign.length > 0) {
    const found = `${listed(foreign.map(({ name }) => name))} ${foreign.length === 1 ? 'is' : 'are'} of another SHARD_COUNT, and nobody reads ${foreign.length === 1 ? 'it' : 'them'}: WAL is kept.`;
    return [warning(CHECK, found, { say: 'The next connector that starts drops what is of another number.' })];
  }
  if (shard.count === 1) return [];
  const all = Array.from({ length: shard.count }, (_, index) => nameOf(base, { index, count: shard.count }));
  const read = new Set(rows.filter(({ active }) => active).map(({ name }) => name));
  const unread = all.filter((name, index) => index !== shard.index && !read.has(name));
  if (unread.length === 0) return [ok(CHECK, `Each of the other ${shard.count - 1} is read by a connector.`)];
  if (read.size === 0) return [ok(CHECK, 'No connector runs yet, of any shard.')];
  return [
    warning(CHECK, `Nobody reads ${listed(unread)}: the patients of that shard are not delivered.`, {
      say: 'Start a connector for each SHARD_INDEX from 0 to SHARD_COUNT - 1.',
    }),
  ];
}
