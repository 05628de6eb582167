// A Delivery: what one transaction did to one resource, and therefore one PUT.
import type { MappedResource } from '../../fhir/mapping/mapped-resource.ts';
import type { Token } from '../../fhir/model/token.ts';
import type { Lsn } from '../../postgres/lsn.ts';
import type { OutboxEvent, ParsedEvent } from './event.ts';
import { deliveryRank, kindOfTable, type ResourceKind } from './kinds.ts';

/** Where the delivery came from. */
export interface Origin {
  /** When the transaction committed, by the server's clock; null when the row was read from the table. */
  readonly committedAt: Date | null;
  /** End of the commit in the WAL; null when the row was read from the table. */
  readonly endLsn: Lsn | null;
}

export interface Delivery extends Origin {
  /** `Patient/17/42` or `pulse/3/1`: kind, source id and the last revision. Unique where txids, LSNs and sequences start again. */
  readonly eventKey: string;
  readonly resourceType: string;
  /** The table of its row. */
  readonly table: string;
  readonly sourceId: number;
  /** In whose order it is delivered; null where no row says it. */
  readonly patientId: number | null;
  /** patient_revision of the last row: orders everything about one resource. */
  readonly revision: number;
  readonly txid: number;
  readonly outboxIds: readonly number[];
  readonly operation: 'upsert' | 'delete';
  /** The outbox row that holds the state to send. */
  readonly payloadId: number;
  /** The identifiers before the transaction, the primary one first; null when it changed none. */
  readonly previous: readonly (Token & { primary: boolean })[] | null;
  /** The application's span, as a W3C traceparent: the last row's that has one. */
  readonly traceparent: string | null;
  /** Memory that the state takes while it waits, about: only back-pressure depends on it. */
  bytes: number;
  /** Failed attempts so far that counted. */
  attempts: number;
  /** It waits between two tries; those behind it in its lane keep only ids meanwhile. */
  waitsForRetry: boolean;
  /** What to send; null where only ids are kept and it must be read again from the outbox. */
  mapped: MappedResource | null;
}

/** Read from the outbox table, by catch-up or the sweep, and so visible to all. What comes from the slot may not be yet. */
export function isFromTable({ endLsn }: Origin): boolean {
  return endLsn === null;
}

/** Maps the state that a delivery is to send; null leaves it parked, to be read from the outbox later. */
export type MapState = (
  kind: ResourceKind,
  operation: Delivery['operation'],
  payload: Readonly<Record<string, unknown>>,
) => MappedResource | null;

/** What the state that is to be sent carries of identifiers that others may have had, or may get; null when its row is gone. */
export function identifiersOf({ mapped, table }: Delivery): readonly Token[] | null {
  return mapped?.ok && kindOfTable(table)?.hasIdentifiers ? mapped.identifiers : null;
}

/** What can be repeated in a reason: what is no such name may hold anything. */
const TABLE_NAME = /^[a-z_][a-z0-9_]{0,62}$/;

/** One Delivery for each resource that the rows touch. What is referred to comes before what refers to it, and is deleted after it. */
export function deliveriesOf(rows: readonly ParsedEvent[], origin: Origin, mapState: MapState): Delivery[] {
  const groups = new Map<string, { kind: ResourceKind; sourceId: number; events: OutboxEvent[] }>();
  const unreadable: Delivery[] = [];
  for (const row of rows) {
    if (!row.ok) {
      unreadable.push(unreadableRow(row.id, row.txid, row.reason, origin));
      continue;
    }
    const { event } = row;
    const kind = kindOfTable(event.table);
    const sourceId = kind?.sourceId(event) ?? null;
    if (!kind || sourceId === null) {
      const reason = kind
        ? 'The outbox row names no patient.'
        : `No FHIR resource is mapped from ${TABLE_NAME.test(event.table) ? `the table ${event.table}` : 'what the row names as its table'}.`;
      unreadable.push(unreadableRow(event.id, event.txid, reason, origin));
      continue;
    }
    const key = `${kind.key}/${sourceId}`;
    const group = groups.get(key);
    if (group) group.events.push(event);
    else groups.set(key, { kind, sourceId, events: [event] });
  }
  const deliveries = [...groups.values()].map((group) =>
    deliveryOf(group.kind, group.sourceId, group.events, origin, mapState),
  );
  return [...unreadable, ...deliveries.sort((a, b) => rankOf(a) - rankOf(b) || a.revision - b.revision)];
}

function rankOf({ table, operation }: Delivery): number {
  return deliveryRank(table, operation === 'delete');
}

function deliveryOf(
  kind: ResourceKind,
  sourceId: number,
  unsorted: readonly OutboxEvent[],
  origin: Origin,
  mapState: MapState,
): Delivery {
  const events = unsorted.toSorted((a, b) => a.revision - b.revision);
  const last = events.at(-1) as OutboxEvent;
  // The resource's own last row decides, not the last row: ON DELETE CASCADE writes the children's D after the patient's,
  // and DELETE followed by INSERT of one id is an update.
  const own = events.findLast((event) => event.table === kind.table);
  const operation = own?.operation === 'D' ? 'delete' : 'upsert';
  const state = operation === 'delete' ? own : events.findLast((event) => event.payload !== null);
  return {
    committedAt: origin.committedAt,
    endLsn: origin.endLsn,
    eventKey: `${kind.key}/${sourceId}/${last.revision}`,
    resourceType: kind.type,
    table: kind.table,
    sourceId,
    patientId: last.patientId,
    revision: last.revision,
    txid: last.txid,
    outboxIds: events.map((event) => event.id),
    operation,
    payloadId: state?.id ?? last.id,
    previous: events.find((event) => event.previous !== null)?.previous ?? null,
    traceparent: events.findLast((event) => event.traceparent !== null)?.traceparent ?? null,
    bytes: events.reduce((sum, event) => sum + event.bytes, 0),
    waitsForRetry: false,
    attempts: Math.max(...events.map((event) => event.attempts)),
    mapped: mapState(kind, operation, state?.payload ?? {}),
  };
}

function unreadableRow(id: number, txid: number, reason: string, origin: Origin): Delivery {
  return {
    committedAt: origin.committedAt,
    endLsn: origin.endLsn,
    eventKey: `Outbox/${id}/0`,
    resourceType: 'Outbox',
    table: 'fhir_outbox',
    sourceId: id,
    patientId: null,
    revision: 0,
    txid,
    outboxIds: [id],
    operation: 'upsert',
    payloadId: id,
    previous: null,
    traceparent: null,
    bytes: 0,
    waitsForRetry: false,
    attempts: 0,
    mapped: { ok: false, reason },
  };
}

/** Whom it is about, as Patient/7: a patient with all that belongs to it is delivered in one order, and fails as one. */
export function whoIs({ table, sourceId, patientId }: Delivery): string {
  return patientId === null ? `${table}/${sourceId}` : `Patient/${patientId}`;
}
