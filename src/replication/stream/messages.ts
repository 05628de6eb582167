// What the slot can tell us, narrowed to what an insert-only publication sends.
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
import type { Lsn } from '../../postgres/lsn.ts';

/** Column name → value as pg's type parsers give it (bigint as text, jsonb parsed, timestamptz as Date). */
export type Row = Readonly<Record<string, unknown>>;

export type ReplicationMessage =
  | { readonly tag: 'begin'; readonly committedAt: Date }
  | { readonly tag: 'insert'; readonly table: string; readonly row: Row; readonly bytes: number }
  | { readonly tag: 'commit'; readonly endLsn: Lsn }
  /** Everything that committed before `walEnd` has been sent. */
  | { readonly tag: 'keepalive'; readonly walEnd: Lsn }
  /** Our own pg_logical_emit_message, come back through the slot. */
  | { readonly tag: 'heartbeat'; readonly walEnd: Lsn; readonly content: string };

/** Prefix of the connector's non-transactional logical messages. */
export const HEARTBEAT_PREFIX = 'fhir_connector_heartbeat';
