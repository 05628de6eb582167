// PostgreSQL itself: does it tell the connector how it stands, and do its triggers write the outbox?

import { type AlertGroup, UNSEEN } from './rule.ts';

export const database: AlertGroup = {
  name: 'PostgreSQL',
  rules: [
    {
      name: 'DatabaseSilent',
      value: 'min by (shard) (fhir_database_age_seconds)',
      fires: { above: 30 },
      forSeconds: 30,
      severity: 'critical',
      summary: 'For {value} PostgreSQL has told no connector{shard} how it stands.',
      format: 'humanizeDuration',
      meaning:
        'PostgreSQL is away, or does not tell all in time: a lock, its load, very much to count. The figures of slot, outbox and dead letters are the last known ones: the alerts on them can be trusted no more.',
      action: 'Look whether PostgreSQL runs, whether the connector reaches it at DB_HOST, and who holds locks there.',
      noData: UNSEEN,
    },
    {
      name: 'TriggersOff',
      // Every connector reads the same triggers.
      value: 'max(fhir_triggers_off)',
      fires: { above: 0 },
      forSeconds: 30,
      severity: 'critical',
      summary: '{value} of the triggers that write fhir_outbox are missing or disabled.',
      format: 'humanize',
      meaning: 'What they would write is not in the outbox: those changes never reach the FHIR server by themselves.',
      action: 'Run doctor, and the statement that it names; then verify --repair for what was changed meanwhile.',
      noData: UNSEEN,
    },
  ],
};
