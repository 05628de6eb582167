// Which shard the configuration makes of this process.
import { hostname } from 'node:os';
import { FatalError } from '../fatal.ts';
import { nameOf, type Shard } from '../shard.ts';
import type { Config } from './environment.ts';

/** https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS */
const LONGEST_NAME = 63;

/** Throws a FatalError where it is not known which shard this is, or its slot's name would be too long. */
export function shardOf(
  config: Pick<Config, 'SHARD_COUNT' | 'SHARD_INDEX' | 'SLOT_NAME' | 'PUBLICATION_NAME'>,
  host = hostname(),
): Shard {
  const { SHARD_COUNT: count, SHARD_INDEX: given, SLOT_NAME, PUBLICATION_NAME } = config;
  const ordinal = host.match(/-(\d+)$/)?.[1];
  const index = count === 1 ? (given ?? 0) : (given ?? (ordinal === undefined ? null : Number(ordinal) % count));
  if (index === null)
    throw new FatalError(
      'SHARD_INDEX is not set, and the name of this host does not end in a number. Set SHARD_INDEX, from 0 to SHARD_COUNT - 1.',
    );
  if (index >= count)
    throw new FatalError(`SHARD_INDEX must be less than SHARD_COUNT, which is ${count}: the first shard is 0.`);
  const shard = { index, count };
  for (const [variable, base] of Object.entries({ SLOT_NAME, PUBLICATION_NAME }))
    if (nameOf(base, shard).length > LONGEST_NAME)
      throw new FatalError(
        `${variable} is too long: with SHARD_COUNT it becomes ${nameOf(base, shard)}, and PostgreSQL's names have ${LONGEST_NAME} characters at most.`,
      );
  return shard;
}
