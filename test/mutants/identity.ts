// Mutants of whose resource it is: the bugs that put one patient's data on another patient's resource, or bring back the deleted.
import type { Mutant } from './mutant.ts';

const WRITE = 'src/outbox/writer/writer.ts';
const IDENTITY = 'test/outbox/identity.pg.test.ts';
const DELETES = 'test/scenarios/deletes.test.ts';
const GIVEN_AWAY =
  'one connector > a resource that somebody else > gave the identifier of another patient, is its row’s again at once, and the other patient is a dead letter';

export const IDENTITIES: readonly Mutant[] = [
  {
    name: 'no-identifier-lanes',
    harm: 'A patient takes over an identifier while the one that gave it up is on its way: both land on one resource.',
    edits: [
      {
        file: 'src/outbox/lanes/scheduler.ts',
        find: 'return keys.concat(',
        replace: 'return keys; void keys.concat(',
      },
    ],
    test: {
      file: IDENTITY,
      title:
        'one connector > a changed identifier > taken by another patient while the one that gives it up is on its way for the first time, waits for that one',
    },
  },
  {
    name: 'living-holder-not-asked',
    harm: "A patient whose identifier another living one carries is written onto that one's resource.",
    edits: [
      { file: WRITE, find: 'if (holder !== null)\n', replace: 'if (holder !== null && delivery.sourceId < 0)\n' },
    ],
    test: {
      file: IDENTITY,
      title:
        "one connector > an identifier that two patients carry > primary of one and other identifier of a living one, does not lead to the other's resource",
    },
  },
  {
    name: 'living-row-robbed',
    harm: "A first contact that meets a living row's resource takes it away: that row's next change makes a second one.",
    edits: [
      { file: WRITE, find: '} else if (answer.id !== linked) {', replace: '} else if (!answer.id) {' },
      { file: 'src/outbox/tables/record.ts', find: ' AND l.deleted_at IS NOT NULL', replace: '' },
    ],
    test: { file: IDENTITY, title: GIVEN_AWAY },
  },
  {
    name: 'state-left-at-another-row',
    harm: "A patient's data stays on another patient's resource, to whom somebody gave the identifier there.",
    edits: [
      {
        file: WRITE,
        find: 'await context.giveBack(owner);',
        replace: 'void [context, owner];',
      },
    ],
    test: { file: IDENTITY, title: GIVEN_AWAY },
  },
  {
    name: 'tombstone-taken-for-a-link',
    harm: 'A deleted patient that is registered again overwrites the resource that somebody else has taken over.',
    edits: [
      {
        file: WRITE,
        find: "if (known.by === 'tombstone') return this.#contactAgain(context, known);",
        replace: '',
      },
    ],
    test: {
      file: IDENTITY,
      title:
        'one connector > a deleted patient > revived under another identifier while somebody else takes over its resource, gets a resource of its own',
    },
  },
  {
    name: 'update-without-if-match',
    harm: 'Nothing refuses a late request: it overwrites whatever is there, and nobody is told of it.',
    edits: [
      {
        file: WRITE,
        find: 'putById(resource, known.id, version, eventKey, sending)',
        replace: 'putById(resource, known.id, version === null ? version : null, eventKey, sending)',
      },
    ],
    test: {
      file: IDENTITY,
      title:
        'one connector > a resource that somebody else > edited between two changes, is overwritten with the state of the database, and counted',
    },
  },
  {
    name: 'link-dropped-at-delete',
    harm: 'Nothing remembers that the patient was deleted: an older state that comes again brings it back to life.',
    edits: [
      {
        file: 'src/outbox/tables/record.ts',
        find: 'FROM done WHERE linked\n       ORDER BY',
        replace: 'FROM done WHERE linked AND NOT deleted\n       ORDER BY',
      },
      {
        file: 'src/outbox/tables/record.ts',
        find: '    dropped AS (',
        replace: `    unlinked AS (
      DELETE FROM fhir_link l USING done
       WHERE done.linked AND done.deleted AND l.source_table = done."table" AND l.source_id = done.source),
    dropped AS (`,
      },
    ],
    test: {
      file: DELETES,
      title: 'FHIR_DELETE=deactivate > ends the resource when its row is deleted, and leaves a tombstone',
    },
  },
  {
    name: 'delete-wins',
    harm: 'A patient that is deleted and inserted again in one transaction is deactivated, though it lives.',
    edits: [
      {
        file: 'src/outbox/delivery/delivery.ts',
        find: 'const own = events.findLast((event) => event.table === kind.table);',
        replace: `const own =
    events.findLast((event) => event.table === kind.table && event.operation === 'D') ??
    events.findLast((event) => event.table === kind.table);`,
      },
    ],
    test: {
      file: DELETES,
      title: 'FHIR_DELETE=deactivate > makes one update of DELETE and INSERT of one id in one transaction',
    },
  },
  {
    name: 'delete-wins-in-the-trigger',
    harm: 'A patient that is deleted and inserted again in one statement is deactivated, though it lives.',
    edits: [
      {
        file: 'sql/migrations/011_sets_of_patients.sql',
        find: "CASE WHEN p.id IS NULL THEN 'D'\n         WHEN c.operation = 'D' THEN 'U'",
        replace: "CASE WHEN c.operation = 'D' THEN 'D'",
      },
    ],
    test: {
      file: 'test/sql/triggers.pg.test.ts',
      title: 'a change of the patient > delete and insert of one id in one statement leave the patient alive',
    },
  },
  {
    name: 'bundle-answer-in-any-order',
    harm: 'A server that answers a Bundle in another order gives each patient the id and version of another one.',
    edits: [
      {
        file: 'src/fhir/client/transaction-bundle.ts',
        find: "if ('id' in by) return id === by.id ? { id, versionId, status: code, proven: true } : null;",
        replace: "if ('id' in by) return { id: by.id, versionId, status: code, proven: true };",
      },
    ],
    test: {
      file: 'test/fhir/bundling.test.ts',
      title: 'a Bundle that fails > to say what was done (the entries turned round): of each it is unknown, never done',
    },
  },
  {
    name: 'bundle-failure-counts',
    harm: 'One patient whose write breaks each connection takes all with it who travel in its Bundles, into the dead letters.',
    edits: [
      {
        file: 'src/fhir/client/bundling-client.ts',
        find: 'if (sending?.uncertain) return this.#single(alone);',
        replace: '',
      },
    ],
    test: {
      file: 'test/faults/bundles.pg.test.ts',
      title:
        'one patient of a Bundle > that always breaks the connection is the only dead letter, after its tries; the others lose no attempt',
    },
  },
];
