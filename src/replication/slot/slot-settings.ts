// Which slot a connector reads, and how PostgreSQL is reached.
import type { ClientConfig } from '../../postgres/client.ts';
import { nameOf, type Shard } from '../../shard.ts';

export interface SlotSettings {
  readonly config: ClientConfig;
  /** SLOT_NAME and PUBLICATION_NAME, as all connectors of one outbox have them: the shard's own names are made of them. */
  readonly slotBase: string;
  readonly publicationBase: string;
  readonly shard: Shard;
}

/** The slot and the publication of this shard. */
export function namesOf({ slotBase, publicationBase, shard }: SlotSettings): { slot: string; publication: string } {
  return { slot: nameOf(slotBase, shard), publication: nameOf(publicationBase, shard) };
}
