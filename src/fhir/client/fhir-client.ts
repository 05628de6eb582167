// What the connector asks of a FHIR server: each call is one answer or one Fault.

import type { Failed, Fault } from '../faults/fault.ts';
import type { Json } from '../model/json.ts';
import type { Resource } from '../model/resource-types.ts';
import type { Token } from '../model/token.ts';
import type { Match } from './answer.ts';
import type { CapabilitiesAnswer } from './capabilities.ts';
import type { WrittenEntry } from './transaction-bundle.ts';

export type WriteAnswer = { ok: true; id: string; versionId: string | null; status: number } | Failed;
export type SearchAnswer = { ok: true; matches: Match[] } | Failed;
export type ReadAnswer = { ok: true; resource: Json; versionId: string | null } | Failed;
/** `total` is null when the server does not count. */
export type CountAnswer = { ok: true; total: number | null } | Failed;
/** `next` is what the next page is asked for with; null after the last. */
export type PageAnswer = { ok: true; resources: Json[]; next: string | null } | Failed;

/** What became of each PUT of a Bundle, or of none. */
export type TransactionAnswer = { ok: true; written: WrittenEntry[] } | Failed;

/** Told of each request when it has ended: its method, 'ok' or the fault's code, how long it took, and of a Bundle how many PUTs it has. */
export type Observe = (call: { method: string; outcome: string; seconds: number; puts?: number }) => void;

/** What decides, when a write is really sent, whether and how it is. */
export interface Sending {
  /**
   * Asked at that moment, for what went before may have taken long: throws when it may not be sent any more. Nothing is sent
   * then, and what was thrown goes to the caller as it is: `dispatch` puts it into a NotSent, lest it be taken for the network's,
   * `Transport` takes it out again, and the call rejects with it. (After a repeat was called for by a connection that broke, the
   * answer is that fault: the first may have been carried out.)
   */
  mayBeSent(): void;
  /**
   * An earlier try ended without an answer that says what became of it: it may have been applied. It goes in no Bundle any
   * more, so that what it meets then is its own.
   */
  readonly uncertain: boolean;
  /** https://www.w3.org/TR/trace-context/#traceparent-header . A Bundle has that of its first PUT. */
  readonly traceparent?: string | undefined;
}

/** Of `eventKey` and the resource the X-Request-Id of a write is made: a repeat has the same. */
export interface FhirClient {
  /** `PUT [type]?identifier=…`: creates or updates the one resource with this identifier, which the body must have. */
  putByIdentifier(resource: Resource, identifier: Token, eventKey: string, sending?: Sending): Promise<WriteAnswer>;
  /** `PUT [type]/[id]`, with If-Match when a version is given. */
  putById(
    resource: Resource,
    id: string,
    versionId: string | null,
    eventKey: string,
    sending?: Sending,
  ): Promise<WriteAnswer>;
  /** `DELETE [type]/[id]`; that it is already gone is a success. */
  deleteById(type: string, id: string, eventKey: string, sending?: Sending): Promise<WriteAnswer>;
  /** The resources with this identifier, at most two: more is of no interest. */
  search(type: string, identifier: Token): Promise<SearchAnswer>;
  /** `GET [type]/[id]`, or as it was in a version: `GET [type]/[id]/_history/[version]`. */
  read(type: string, id: string, versionId?: string): Promise<ReadAnswer>;
  /** How many resources there are. */
  count(type: string): Promise<CountAnswer>;
  /**
   * A page of all resources, or of those with an identifier of this system, with these elements at least; `next` as the page
   * before gave it, null for the first.
   */
  list(type: string, system: string | null, elements: readonly string[], next: string | null): Promise<PageAnswer>;
  /** A read that needs the server's database (HAPI answers /metadata without it): null when it works. */
  probe(): Promise<Fault | null>;
  /** What the server can do (`GET metadata`), or why it is none that the connector can work with. */
  capabilities(): Promise<CapabilitiesAnswer>;
  /** Breaks off what is still under way. */
  close(): Promise<void>;
}
