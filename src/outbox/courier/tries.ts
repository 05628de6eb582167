// What is remembered of one delivery from try to try, until it is finished.

import type { DeliveryTrace } from './delivery-trace.ts';

export interface Tries {
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
  /** Looks in vain, in a row, for what a connector of another shard has to deliver first. */
  looks: number;
  readonly trace: DeliveryTrace | null;
}

export function noTries(trace: DeliveryTrace | null): Tries {
  return {
    uncertain: false,
    triedMs: 0,
    refusedAt: null,
    failures: 0,
    serverWorked: false,
    mustLookUp: false,
    looks: 0,
    trace,
  };
}
