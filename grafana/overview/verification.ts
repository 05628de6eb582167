// Whether the FHIR server has what the database has, and when that was last looked at.

import { Seconds, Short } from '@grafana/grafana-foundation-sdk/units';
import { lines } from './panel.ts';
import type { Row } from './row.ts';

export const verification: Row = {
  title: 'Verification',
  panels: [
    lines('Drift', 'What the last verification found, by kind: must be 0. NaN until there was one; run verify.', {
      '{{kind}} ({{scope}})': 'max by (scope, kind) (fhir_drift)',
    })
      .unit(Short)
      .span(16),
    lines('Since the last verification', 'Time since a verification of all patients, or of a sample, ended.', {
      '{{scope}}': 'time() - max by (scope) (fhir_verification_timestamp_seconds)',
    })
      .unit(Seconds)
      .span(8),
  ],
};
