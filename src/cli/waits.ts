// What an emission waits for, in sentences.
import type { Wait } from '../outbox/operator/emission.ts';

const SENTENCES: Readonly<Record<Wait, string>> = {
  'no-connector': 'Waiting: no connector delivers what is emitted. Start it; this goes on by itself.',
  behind: 'Waiting for the connector, which has enough to do (fhir_breaker_state says whether the FHIR server works).',
  locked: 'Waiting for a transaction that holds the next patient: see xact_start in pg_stat_activity.',
  'no-database': 'Waiting for PostgreSQL, which does not answer.',
};

export function sentenceOf(wait: Wait | null): string | null {
  return wait === null ? null : SENTENCES[wait];
}
