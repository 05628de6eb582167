// The connector's processes, and the work that they do beside delivering.

import { type AlertGroup, UNSEEN } from './rule.ts';

const SEEN = 'up{job="fhir_connector"}';

export const connector: AlertGroup = {
  name: 'Connector',
  rules: [
    {
      name: 'ConnectorDown',
      value: `sum(${SEEN}) or vector(0)`,
      fires: { below: 1 },
      forSeconds: 30,
      severity: 'critical',
      summary: 'No connector answers Prometheus.',
      // `up` knows no shards: of one that has no connector while others have, SlotInactive tells.
      meaning: 'The connector is not running, or nobody can see it: all other alerts but SlotInactive are blind.',
      action: 'Start the connector; if it runs, mend the way from Prometheus to its port 9464.',
      noData: { state: 'Alerting', because: 'no connector is seen' },
      queryFails: 'Alerting',
    },
    {
      name: 'StandbyDown',
      value: `(count(${SEEN}) - sum(${SEEN})) * (sum(${SEEN}) > bool 0)`,
      fires: { above: 0 },
      forSeconds: 300,
      severity: 'warning',
      summary: '{value} of several connectors does not answer Prometheus.',
      format: 'humanize',
      meaning:
        'Another one delivers, unless SlotInactive fires too: then this one was the last of its shard. When the other one ends, nobody takes over.',
      action: 'Start it again, or take it out of Prometheus’ targets if it is meant to be gone.',
      noData: UNSEEN,
    },
    {
      name: 'CleanUpFails',
      // Each shard's connector cleans up once an hour. One failure may pass, and extrapolated over three hours it is a little more than 1.
      value: 'sum by (shard) (increase(fhir_cleanup_failures_total[3h]))',
      fires: { above: 1.5 },
      forSeconds: 0,
      severity: 'warning',
      summary: 'The hourly clean-up{shard} has failed again and again.',
      meaning: 'Deliveries go on, but rows older than RETENTION_DAYS stay, and the tables grow.',
      action: 'See the code in the connector’s log; with 42883 or 42501 run migrate.',
      noData: UNSEEN,
    },
  ],
};
