// Mutants of what is said: a patient in a log line, on stderr, in a command. One careless word is enough, and nobody sees it in time.
import type { Mutant } from './mutant.ts';

const DELIVERIES = {
  file: 'test/canary/deliveries.pg.test.ts',
  title:
    'deliveries > that go well say nothing of a patient, and put an identifier in the URL of the first contact only',
};
const FAULTS = {
  file: 'test/canary/faults.test.ts',
  title: 'validation (422) to put-by-id says nothing of a patient',
};

export const PRIVACY: readonly Mutant[] = [
  {
    name: 'name-in-the-log',
    harm: 'Each delivery writes the name of the patient into the log.',
    edits: [
      {
        file: 'src/outbox/courier/conclude.ts',
        find: "log.info({ ...ids, ...told }, 'delivered');",
        replace: "log.info({ ...ids, ...told, resource: delivery.mapped }, 'delivered');",
      },
    ],
    test: DELIVERIES,
  },
  {
    name: 'identifier-in-the-trace',
    harm: 'Each delivery sends the identifier of the patient to whoever collects traces.',
    edits: [
      {
        file: 'src/outbox/courier/delivery-trace.ts',
        find: "'fhir_connector.txid': delivery.txid,",
        replace:
          "'fhir_connector.txid': delivery.txid,\n      'fhir_connector.identifier': delivery.mapped?.identifier?.value ?? '',",
      },
    ],
    test: DELIVERIES,
  },
  {
    name: 'diagnostics-in-the-reason',
    harm: 'What a FHIR server says of a patient goes into the log, the status page and dlq list.',
    edits: [
      {
        file: 'src/fhir/faults/fault.ts',
        find: 'const details = shortReason(refusal.outcome);',
        replace: "const details = shortReason(refusal.outcome) + (refusal.outcome?.issue[0]?.diagnostics ?? '');",
      },
    ],
    test: FAULTS,
  },
  {
    name: 'message-instead-of-the-code',
    harm: 'What PostgreSQL says when it refuses a record, with the row in it, goes into the log.',
    edits: [
      {
        file: 'src/outbox/tables/outages.ts',
        find: "log.warn({ code: errorCode(error) }, 'PostgreSQL did not answer; trying again in a second.');",
        replace: 'log.warn({ code: errorCode(error) }, (error as Error).message);',
      },
    ],
    test: {
      file: 'test/canary/postgres.pg.test.ts',
      title: 'records that PostgreSQL refuses, with the row in its words, are told of by their SQLSTATE',
    },
  },
  {
    name: 'uncaught-errors-as-node-prints-them',
    harm: 'A connector that crashes prints the row that PostgreSQL quoted.',
    edits: [
      {
        file: 'src/privacy/last-words.ts',
        find: 'writeSync(STDERR, lastWords(error));',
        replace: 'console.error(error);',
      },
    ],
    test: {
      file: 'test/canary/postgres.pg.test.ts',
      title: 'an uncaught exception and warnings end the connector with a class and a place alone',
    },
  },
  {
    name: 'payload-in-dlq-show',
    harm: 'Whoever looks at a dead letter prints a patient to the terminal, and into whatever records it.',
    edits: [
      {
        file: 'src/outbox/operator/dead-letters.ts',
        find: 'const { delivered, operationOutcome, ...details } = row;',
        replace: 'const { delivered, ...details } = row;\n  const { operationOutcome } = row;',
      },
    ],
    test: { file: 'test/canary/commands.pg.test.ts', title: 'the commands > say nothing of a patient' },
  },
];
