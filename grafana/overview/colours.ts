// The colour of each state that the connector tells of: a state without one is a type error.

import type { BREAKER_STATES, CONNECTOR_STATES, SlotState } from '../../src/metrics/metrics.ts';

/** Of Grafana's palette. */
export type Colour = 'green' | 'yellow' | 'orange' | 'red' | 'blue' | 'purple';

interface States {
  readonly fhir_connector_state: (typeof CONNECTOR_STATES)[number];
  readonly fhir_breaker_state: (typeof BREAKER_STATES)[number];
  readonly fhir_slot_state: SlotState;
}

export const stateColours: { readonly [Metric in keyof States]: Readonly<Record<States[Metric], Colour>> } = {
  fhir_connector_state: {
    starting: 'blue',
    standby: 'blue',
    'catching-up': 'yellow',
    streaming: 'green',
    reconnecting: 'orange',
    stopping: 'purple',
  },
  fhir_breaker_state: {
    flowing: 'green',
    outage: 'red',
    refusing: 'red',
  },
  fhir_slot_state: {
    reserved: 'green',
    extended: 'yellow',
    unreserved: 'orange',
    lost: 'red',
    missing: 'red',
    unknown: 'purple',
  },
};
