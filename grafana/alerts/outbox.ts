// The outbox: does work go on, how old is what waits, how much of it is there, and what could not be delivered?

import { type AlertGroup, NOT_OF_STANDBYS, UNSEEN, withinTheHour } from './rule.ts';

export const outbox: AlertGroup = {
  name: 'Outbox',
  rules: [
    {
      name: 'NoProgress',
      // A standby makes no progress, rightly. Without work there is none to make.
      value: `min by (shard) (fhir_since_progress_seconds ${NOT_OF_STANDBYS}) * (max by (shard) (fhir_outbox_unprocessed_count) > bool 0)`,
      fires: { above: 30 },
      forSeconds: 30,
      severity: 'critical',
      summary: 'Changes{shard} wait, and nothing was delivered for {value}.',
      format: 'humanizeDuration',
      meaning: 'The connector runs and neither finishes a delivery nor moves the slot, although the outbox has work.',
      action: 'Look whether the FHIR server works (BreakerOpen), then in the connector’s log.',
      noData: UNSEEN,
    },
    {
      name: 'OutboxAge',
      value: 'max by (shard) (fhir_outbox_lag_seconds - fhir_outbox_lag_limit_seconds)',
      fires: { above: 0 },
      forSeconds: 15,
      severity: 'warning',
      summary: 'The oldest change{shard} has waited {value} longer than OUTBOX_LAG_ALERT_SECONDS allows.',
      format: 'humanizeDuration',
      meaning: 'The FHIR server has an older state of at least one patient than the database.',
      action: 'See what the oldest unprocessed row of fhir_outbox waits for.',
      noData: UNSEEN,
    },
    {
      name: 'OutboxBacklog',
      value: 'max by (shard) (fhir_outbox_unprocessed_count)',
      fires: { above: 1000 },
      forSeconds: 300,
      severity: 'warning',
      summary: '{value} outbox rows{shard} are unprocessed.',
      format: 'humanize',
      meaning: 'For five minutes more has been changed than is delivered, or deliveries are held.',
      action: 'Compare what is delivered a second with what is committed; look at the latency of the FHIR server.',
      noData: UNSEEN,
    },
    {
      name: 'DeadLettersGrow',
      value: 'max by (shard) (fhir_dlq_total) - min by (shard) (min_over_time(fhir_dlq_total[15m]))',
      fires: { above: 0 },
      forSeconds: 0,
      severity: 'warning',
      summary: '{value} new dead letters{shard} within 15 minutes.',
      format: 'humanize',
      meaning:
        'The FHIR server refused changes for a reason that will not pass: it keeps an older state of these patients.',
      action: 'Read the reasons with dlq list; many of one kind have one cause.',
      noData: UNSEEN,
    },
    {
      name: 'DeadLetterWaits',
      value: 'max(fhir_dlq_oldest_seconds)',
      fires: { above: 86_400 },
      forSeconds: 60,
      severity: 'warning',
      summary: 'A dead letter has waited {value} for somebody to decide.',
      format: 'humanizeDuration',
      meaning:
        'Nothing sends a dead letter again by itself: the FHIR server has an old state of that patient, or none.',
      action: 'Mend the cause and replay it, or discard it with the reason.',
      noData: UNSEEN,
    },
    {
      name: 'RowsRemoved',
      // Whoever removes rows asks for no shard.
      value: withinTheHour('fhir_removed_rows_total', 'sum'),
      fires: { above: 0 },
      forSeconds: 0,
      severity: 'warning',
      summary: 'Somebody removes rows of fhir_outbox before they are recorded.',
      meaning:
        'The audit trail lacks these deliveries, and a refused one is no dead letter. Rows that went before the connector had read them were never delivered, and it does not know of them.',
      action: 'Find out who deletes from fhir_outbox and end that; then run verify --repair.',
      noData: UNSEEN,
    },
  ],
};
