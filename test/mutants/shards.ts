// Mutants of the connectors that share an outbox: the bugs by which two of them work on one resource, or none works on a patient.
import type { Mutant } from './mutant.ts';

const SHARDS = 'test/shards/shards.pg.test.ts';
const IDENTITY = 'test/outbox/identity.pg.test.ts';
const ACROSS = 'test/shards/across.pg.test.ts';
const STANDS_BY =
  'another number of shards > stands by until the last connector with the number before has ended, and then takes its slots and publications away';

export const SHARDED: readonly Mutant[] = [
  {
    name: 'giver-of-another-shard-not-waited-for',
    harm: 'A patient takes over an identifier while another connector has the one that gave it up on its way: both land on one resource.',
    edits: [
      {
        file: 'src/outbox/tables/other-shards.ts',
        find: 'return rows.some(',
        replace: 'return this.#shard.count < 0 && rows.some(',
      },
    ],
    test: {
      file: IDENTITY,
      title:
        'two connectors > a changed identifier > taken by another patient while the one that gives it up is on its way for the first time, waits for that one',
    },
  },
  {
    name: 'linked-taker-does-not-wait',
    harm: 'A patient takes an identifier while the one that gave it up is on its first way: that one lands on the resource of the first.',
    edits: [
      {
        file: 'src/outbox/tables/other-shards.ts',
        find: '[...taken(delivery)]',
        replace: 'linked ? [] : [...taken(delivery)]',
      },
    ],
    test: {
      file: IDENTITY,
      title:
        'two connectors > a changed identifier > taken by a patient who has a resource already, waits as well for the one that gives it up on its first way',
    },
  },
  {
    name: 'older-record-of-another-shard-not-waited-for',
    harm: 'Of a form that went to another patient, the older state may be written over the newer one.',
    edits: [{ file: 'src/outbox/tables/standing.ts', find: 'sql`(earlier.found OR NOT (', replace: 'sql`(NOT (' }],
    test: {
      file: SHARDS,
      title: 'a form that goes to a patient of another shard > while its change before is on its way, waits for that',
    },
  },
  {
    name: 'state-within-a-transaction-sent',
    harm: 'Of a form that went to another patient in the transaction that changed it, a state is sent that never was, and perhaps last.',
    edits: [
      {
        file: 'src/outbox/tables/standing.ts',
        find: 'sql`(later.found OR refused.found)`',
        replace: 'sql`(refused.found)`',
      },
    ],
    test: {
      file: SHARDS,
      title:
        'a form that goes to a patient of another shard > in the transaction that changes it, is sent once, as it is in the end',
    },
  },
  {
    name: 'reference-of-another-shard-not-waited-for',
    harm: 'A reading becomes a dead letter because another connector has still to deliver the form that it refers to.',
    edits: [
      {
        file: 'src/outbox/writer/writer.ts',
        find: 'if (context.mayAwaitOtherShard && ',
        replace: 'if (!context.mayAwaitOtherShard && ',
      },
    ],
    test: {
      file: SHARDS,
      title:
        'a form that goes to a patient of another shard > and a reading that refers to it there, which is delivered by the other connector, wait for it',
    },
  },
  {
    name: 'shared-link-remembered',
    harm: "What another connector wrote is taken for somebody else's edit.",
    edits: [
      {
        file: 'src/outbox/courier/courier.ts',
        find: 'if (mayShare) links.forget(delivery);',
        replace: 'if (mayShare) links.peek(delivery);',
      },
    ],
    test: {
      file: SHARDS,
      title:
        'a form that goes to a patient of another shard > and comes back, is written over what it is there, and not taken for somebody else’s edit',
    },
  },
  {
    name: 'ended-link-not-told',
    harm: "A patient's data goes by a link that another connector has ended, to the resource that is another patient's by now.",
    edits: [
      {
        file: 'src/replication/slot/tenure.ts',
        find: "control.on('notification', callbacks.linksChanged);",
        replace: 'void callbacks;',
      },
    ],
    test: {
      file: SHARDS,
      title:
        'a link that a connector of another shard has ended > is not gone by: the resource is somebody else’s by now',
    },
  },
  {
    name: 'taker-compared-by-its-first-row',
    harm: 'A patient whose transaction was open before an identifier was given up does not wait: two are on one resource.',
    edits: [
      { file: 'src/outbox/tables/other-shards.ts', find: 'Math.max(...outboxIds)', replace: 'Math.min(...outboxIds)' },
    ],
    test: {
      file: ACROSS,
      title:
        'two connectors > an identifier, taken in a transaction that had changed its patient before the other one gave it up, > goes to that patient also where the other one is on its first way',
    },
  },
  {
    name: 'refused-last-state-forgotten',
    harm: 'Of a transaction whose last state is a dead letter a state is sent that never was.',
    edits: [
      {
        file: 'src/outbox/tables/standing.ts',
        find: 'sql`(later.found OR refused.found)`',
        replace: 'sql`(later.found)`',
      },
    ],
    test: {
      file: ACROSS,
      title:
        'two connectors > a form whose transaction moved it to a patient who is refused is not sent as it never was',
    },
  },
  {
    name: 'shards-beside-the-version-before',
    harm: 'A connector of the version before works beside the shards, and sends each change a second time.',
    edits: [
      {
        file: 'src/replication/slot/shard-count.ts',
        find: 'count} > 1 AND NOT',
        replace: 'count} < 0 AND NOT',
      },
    ],
    test: {
      file: SHARDS,
      title:
        'another number of shards > stands by while a connector from before there were shards has its turn, and keeps it from having one',
    },
  },
  {
    name: 'backlog-of-all-shards',
    harm: 'Each connector catches up with every patient, and the older state may be written last.',
    edits: [
      {
        file: 'src/outbox/catch-up/backlog.ts',
        find: 'sql.raw(filterOf(shard))',
        replace: "sql.raw(shard ? 'true' : '')",
      },
    ],
    test: { file: SHARDS, title: 'four connectors > catch up each with what waits of their own patients' },
  },
  {
    name: 'two-counts-at-once',
    harm: 'A patient is in the shards of two connectors at the same time, and the older state may be written last.',
    edits: [
      {
        file: 'src/replication/slot/turn.ts',
        find: 'if (await joinCount(control, settings, TENURE_LOCK, log)) return;',
        replace: 'if ((await joinCount(control, settings, TENURE_LOCK, log)) || settings.shard.count > 0) return;',
      },
    ],
    test: { file: SHARDS, title: STANDS_BY },
  },
  {
    name: 'slots-of-another-count-kept',
    harm: 'Slots that nobody reads any more keep the WAL until the disk is full.',
    edits: [
      {
        file: 'src/replication/slot/tenure.ts',
        find: 'await dropOtherCounts(control, settings, log);',
        replace: 'void dropOtherCounts;',
      },
    ],
    test: { file: SHARDS, title: STANDS_BY },
  },
  {
    name: 'shard-without-its-filter',
    harm: 'Each connector delivers every patient, and the older state may be written last.',
    edits: [
      { file: 'sql/migrations/018_shards.sql', find: 'abs(coalesce(patient_id, 0) %% %s) = %s', replace: '%s > %s' },
    ],
    test: { file: SHARDS, title: 'four connectors > deliver each the changes of their own patients, and together all' },
  },
];
