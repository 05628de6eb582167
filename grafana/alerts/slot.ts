// The replication slot: is it read, how far behind is it, how long will PostgreSQL keep its WAL?

import { LEAST_HEADROOM } from '../../src/metrics/facts.ts';
import { type AlertGroup, UNSEEN, withinTheHour } from './rule.ts';

const MIB = 1024 ** 2;

export const slot: AlertGroup = {
  name: 'Replication slot',
  rules: [
    {
      name: 'SlotInactive',
      // The connector itself tells whether the slot is held: when it ends, so does the series. (A standby sees the holder.) So it
      // counts the shards of whose slot nobody has told within half a minute that it is held: a rollout, which stops one after
      // the other, is then no alert. Where nothing is scraped at all, one is missing at the least.
      value:
        '(max(fhir_shards) or vector(1)) - (sum(max by (shard) (max_over_time(fhir_slot_active[30s]))) or vector(0))',
      fires: { above: 0 },
      forSeconds: 30,
      severity: 'critical',
      summary: 'No connector is seen to hold the replication slot, or that of one of the shards.',
      meaning:
        'Nothing that this slot hands out is delivered, and PostgreSQL keeps more and more WAL for it until max_slot_wal_keep_size is reached.',
      action: 'Start the connector, or see in its log what keeps it from the slot. Do not drop the slot.',
      noData: { state: 'Alerting', because: 'nobody is seen to hold the slot' },
    },
    {
      name: 'SlotUnreserved',
      value: 'max by (shard) (fhir_slot_state{state="unreserved"})',
      fires: { above: 0 },
      forSeconds: 0,
      severity: 'critical',
      summary: 'The replication slot{shard} is behind max_slot_wal_keep_size: the next checkpoint gives it up.',
      meaning:
        'PostgreSQL no longer reserves WAL that the slot needs. When it is gone the slot is lost, and the connector catches up from fhir_outbox: that costs time, not data.',
      action: 'Mend what keeps the connector from delivering. Raise max_slot_wal_keep_size if the disk has room.',
      noData: UNSEEN,
    },
    {
      name: 'SlotLost',
      value: 'max by (shard) (fhir_slot_state{state=~"lost|missing"})',
      fires: { above: 0 },
      forSeconds: 60,
      severity: 'critical',
      summary: 'The replication slot{shard} is lost or missing, and no connector has made it anew.',
      meaning:
        'Nothing is delivered. Nothing is lost either: fhir_outbox holds what is undelivered. A connector that works makes the slot anew within seconds.',
      action:
        'See in the connector’s log what keeps it from making the slot; most often a transaction that is open for long.',
      noData: UNSEEN,
    },
    {
      name: 'SlotLag',
      value: 'max by (shard) (fhir_slot_confirmed_lag_bytes)',
      fires: { above: 256 * MIB },
      forSeconds: 300,
      severity: 'warning',
      summary: 'The connector{shard} is {value}B of WAL behind.',
      format: 'humanize1024',
      meaning: 'PostgreSQL writes WAL faster than the connector confirms it, or a delivery holds the position back.',
      action: 'Look what the deliveries wait for: the FHIR server, a retry, or too much work at once.',
      noData: UNSEEN,
    },
    {
      name: 'RetainedWal',
      value: 'max by (shard) (fhir_slot_retained_bytes)',
      fires: { above: 1024 * MIB },
      forSeconds: 300,
      severity: 'warning',
      summary: 'PostgreSQL keeps {value}B of WAL for the replication slot{shard}.',
      format: 'humanize1024',
      meaning:
        'The disk fills. Without SlotLag beside it the connector is not behind: a transaction is open for long, and the slot must be able to read it from its start.',
      action: 'Find and end the old transaction; with SlotLag, mend that.',
      noData: UNSEEN,
    },
    {
      name: 'WalHeadroom',
      value: 'min by (shard) (fhir_slot_safe_wal_bytes / (fhir_slot_safe_wal_bytes + fhir_slot_retained_bytes))',
      fires: { below: LEAST_HEADROOM },
      forSeconds: 60,
      severity: 'critical',
      summary: 'Only {value} of the WAL that the replication slot{shard} may keep is left.',
      format: 'humanizePercentage',
      meaning: 'At the end of it PostgreSQL gives the slot up, and the connector has to catch up from fhir_outbox.',
      action: 'Mend what keeps the connector from confirming. Raise max_slot_wal_keep_size if the disk has room.',
      noData: { state: 'OK', because: 'max_slot_wal_keep_size is not set: there is no limit to reach' },
    },
    {
      name: 'WalRunway',
      value: 'min by (shard) (fhir_slot_safe_wal_bytes / clamp_min(deriv(fhir_slot_retained_bytes[10m]), 1))',
      fires: { below: 3600 },
      forSeconds: 300,
      severity: 'critical',
      summary: 'At the rate of the last ten minutes the replication slot{shard} is given up in {value}.',
      format: 'humanizeDuration',
      meaning: 'WAL is written much faster than it is confirmed.',
      action: 'Mend what keeps the connector from confirming, or slow down what writes: a bulk load, an index build.',
      noData: { state: 'OK', because: 'max_slot_wal_keep_size is not set: there is no limit to reach' },
    },
    {
      name: 'RowsSkipped',
      value: withinTheHour('fhir_skipped_rows_total', 'sum by (shard) '),
      fires: { above: 0 },
      forSeconds: 0,
      severity: 'warning',
      summary:
        'The replication slot{shard} has not handed out changes that were committed; the connector found them and delivers them.',
      meaning:
        'Somebody moved the slot on or made it anew by hand, or another program reads it. What it leaves out is found at the start only.',
      action: 'Find out who has to do with the slot, restart the connector once that is over, and run verify.',
      noData: UNSEEN,
    },
  ],
};
