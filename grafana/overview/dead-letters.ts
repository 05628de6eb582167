// What waits for somebody to decide, and what is set right or cleaned up without anybody.

import { Seconds, Short } from '@grafana/grafana-foundation-sdk/units';
import { lines } from './panel.ts';
import type { Row } from './row.ts';

export const deadLetters: Row = {
  title: 'Dead letters',
  panels: [
    lines('Unresolved dead letters', 'Entries of fhir_dlq that nobody has replayed, discarded or superseded.', {
      unresolved: 'sum(max by (shard) (fhir_dlq_total))',
    })
      .unit(Short)
      .span(6),
    lines('Oldest dead letter', 'Age of the oldest unresolved entry.', { oldest: 'max(fhir_dlq_oldest_seconds)' })
      .unit(Seconds)
      .span(6),
    lines(
      'Foreign edits',
      'Resources that someone else had changed on the FHIR server, and that were set right, in the last hour.',
      { 'foreign edits': 'sum(increase(fhir_foreign_edits_total[1h]))' },
    )
      .unit(Short)
      .span(6),
    lines(
      'Clean-up',
      'Finished rows removed because they were older than RETENTION_DAYS, and clean-ups that failed, in the last hour.',
      {
        '{{table}}': 'sum by (table) (increase(fhir_cleanup_removed_rows_total[1h]))',
        failed: 'sum(increase(fhir_cleanup_failures_total[1h]))',
      },
    )
      .unit(Short)
      .span(6),
  ],
};
