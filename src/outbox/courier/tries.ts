// One delivery on its way through the courier: what is remembered of it from try to try, until it is finished.
import type { Token } from '../../fhir/model/token.ts';
import type { Delivery } from '../delivery/delivery.ts';
import type { Ending } from '../tables/ending.ts';
import type { DeliveryTrace } from './delivery-trace.ts';

/** What the courier needs of the lanes that the delivery is in. */
export interface LaneControl {
  /** Null when nobody runs in the identifier's lane: from now on it is this delivery's. */
  claim(identifier: Token): Promise<void> | null;
  /** Waiting for a retry: keep only ids, of this delivery and of those behind it, and let others be read. */
  park(): void;
  unpark(): void;
}

export interface Tries {
  readonly delivery: Delivery;
  readonly lanes: LaneControl;
  readonly trace: DeliveryTrace | null;
  /** An earlier try may have been applied without our hearing of it. */
  uncertain: boolean;
  /** Time of tries and waits since the first failure that counted, in milliseconds; an outage between is not in it. */
  triedMs: number;
  /** performance.now() of the first refusal. */
  refusedAt: number | null;
  /** Failures in a row, counted or not: the exponent of the backoff. */
  failures: number;
  /** After the last failure the server was seen working. */
  serverWorked: boolean;
  /** It was sent before, or overtaken: ask the database before sending again. */
  mustLookUp: boolean;
  /** How often it was looked in vain for what a connector of another shard has to deliver first. */
  looks: number;
}

export function noTries(delivery: Delivery, lanes: LaneControl, trace: DeliveryTrace | null): Tries {
  return {
    delivery,
    lanes,
    trace,
    uncertain: false,
    triedMs: 0,
    refusedAt: null,
    failures: 0,
    serverWorked: false,
    mustLookUp: false,
    looks: 0,
  };
}

/** What an attempt came to: the end (`done: null` where that is recorded already), or another one after so many milliseconds. */
export type Step = { readonly done: Ending | null } | { readonly retryAfter: number };

/** With no wait: what is true by now is looked up, and decides anew. */
export const AT_ONCE: Step = { retryAfter: 0 };
