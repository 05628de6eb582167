// Which slot the configuration makes of this process, and how PostgreSQL is reached for it.
import type { SlotSettings } from '../replication/slot/slot-settings.ts';
import { databaseClient } from './database.ts';
import type { Config } from './environment.ts';
import { shardOf } from './shard.ts';

/** As `run` takes it and `doctor` looks at it. Throws a FatalError, as databaseClient and shardOf do. */
export function slotSettings(config: Config): SlotSettings {
  return {
    config: databaseClient(config),
    shard: shardOf(config),
    slotBase: config.SLOT_NAME,
    publicationBase: config.PUBLICATION_NAME,
  };
}
