// Mutants of what is acknowledged, and when: the bugs that lose a patient's change for good.
import type { Mutant } from './mutant.ts';

const SET_UP = 'src/replication/slot/set-up.ts';
const CONNECTION = 'src/replication/stream/connection.ts';
const COURIER = 'src/outbox/courier/courier.ts';
const UNFINISHED = 'test/replication/unfinished.pg.test.ts';

export const ACKNOWLEDGING: readonly Mutant[] = [
  {
    name: 'acknowledge-as-the-library-does',
    harm: 'The slot stands one byte behind the commit: the next one, which begins exactly there, is skipped after a restart.',
    edits: [
      {
        file: CONNECTION,
        find: 'writeBigUInt64BE(acknowledged, 9)',
        replace: 'writeBigUInt64BE(acknowledged + 1n, 9)',
      },
    ],
    test: {
      file: 'test/replication/acknowledge.pg.test.ts',
      title:
        'two concurrent transactions whose commit records touch > delivers the second after the first was acknowledged and the connector was killed',
    },
  },
  {
    name: 'position-that-only-the-stream-tells',
    harm: 'One changed byte in a keepalive moves the slot far beyond the WAL, and PostgreSQL never sends anything again.',
    edits: [
      {
        file: 'src/replication/acknowledgement/wal-end.ts',
        find: 'return position <= this.#reached',
        replace: 'return position >= 0n',
      },
    ],
    test: {
      file: 'test/replication/wild-position.pg.test.ts',
      title:
        'a keepalive whose position the WAL has not reached is not acknowledged, and the slot goes on where it was',
    },
  },
  {
    name: 'silent-while-nothing-is-finished',
    harm: 'PostgreSQL takes the connector for dead while the FHIR server is away, and sends the whole backlog again and again.',
    edits: [
      {
        file: 'src/replication/acknowledgement/feedback.ts',
        find: 'setInterval(() => this.#report(),',
        replace: 'setInterval(() => undefined,',
      },
    ],
    test: {
      file: 'test/replication/acknowledge.pg.test.ts',
      title:
        'a held FHIR server > keeps confirmed_flush_lsn before the held commit for 30 seconds of other traffic and keepalives',
    },
  },
  {
    name: 'keepalive-acknowledged-in-flight',
    harm: 'A heartbeat moves the slot past a PUT that is still on its way: a crash loses that change.',
    edits: [
      {
        file: 'src/replication/acknowledgement/ack-tracker.ts',
        find: 'if (this.#unfinished === 0) this.#lowWaterMark',
        replace: 'this.#lowWaterMark',
      },
    ],
    test: {
      file: UNFINISHED,
      title:
        'a commit is not acknowledged > before its PUT was answered, though heartbeats and other commits come after it',
    },
  },
  {
    name: 'start-at-last-received',
    harm: 'After a reconnect the slot goes on behind what was received and not finished: nothing holds its position there any more.',
    edits: [
      { file: CONNECTION, find: 'formatLsn(LSN_ZERO)', replace: 'formatLsn(received)' },
      {
        file: CONNECTION,
        find: 'if (chunk[0] === XLOG_DATA) {',
        replace: 'if (chunk[0] === XLOG_DATA) {\n      received = chunk.readBigUInt64BE(1) as Lsn;',
      },
      {
        file: CONNECTION,
        find: "const XLOG_DATA = 0x77; // 'w'",
        replace: "let received: Lsn = LSN_ZERO;\nconst XLOG_DATA = 0x77; // 'w'",
      },
    ],
    test: {
      file: UNFINISHED,
      title:
        'a commit is not acknowledged > before its PUT was answered, though the connection was lost and made again meanwhile',
    },
  },
  {
    name: 'record-not-waited-for',
    harm: 'The position passes a delivery whose record is not committed: after a crash nobody knows what became of it.',
    edits: [
      {
        file: COURIER,
        find: 'await conclude(this.#parts, delivery, step.done, tries.trace)',
        replace: 'void conclude(this.#parts, delivery, step.done, tries.trace)',
      },
    ],
    test: { file: UNFINISHED, title: 'a commit is not acknowledged > before its record is committed' },
  },
  {
    name: 'record-before-put',
    harm: 'The event counts as delivered before the server has it: a crash between the two loses the change without a trace.',
    edits: [
      {
        file: COURIER,
        find: 'return await guard.act(lease, async () => {',
        replace: `return await guard.act(lease, async () => {
        await conclude(this.#parts, delivery, NOTHING_TO_DO, tries.trace);`,
      },
    ],
    test: {
      file: 'test/cli/stop.pg.test.ts',
      title:
        'SIGTERM, when something does not end within SHUTDOWN_TIMEOUT_MS > exits with 0 all the same, acknowledges only what came before it, and the next start sends it again',
    },
  },
  {
    name: 'record-without-its-row',
    harm: 'A record made before the transaction is visible finds no outbox row and counts all the same: the row stays unprocessed for ever.',
    edits: [
      {
        file: 'src/outbox/tables/record.ts',
        find: 'WHERE d.without_rows OR found.rows',
        replace: 'WHERE true OR d.without_rows OR found.rows',
      },
    ],
    test: {
      file: 'test/outbox/recorder.pg.test.ts',
      title:
        'waits for a transaction that the slot told of before others can see it, and then records it with its rows',
    },
  },
  {
    name: 'catch-up-before-the-slot',
    harm: 'What commits between the reading of the outbox and the making of the slot is in neither of them.',
    edits: [
      {
        file: SET_UP,
        find: 'await catchUp.collect(snapshot);',
        replace: '',
      },
      {
        file: SET_UP,
        find: 'const snapshot = await tellingOfBlockers(',
        replace: 'await catchUp.collect(null);\n    await tellingOfBlockers(',
      },
    ],
    test: {
      file: 'test/outbox/new-slot.pg.test.ts',
      title: 'what is committed while the slot is made is caught up with, and not left to the sweep',
    },
  },
  {
    name: 'server-as-it-was',
    harm: 'Files of before are put back: what was on its way is recorded as the change that has its number now, which is never sent.',
    edits: [{ file: 'src/pipeline.ts', find: 'server.saw(reached)', replace: 'void server' }],
    test: {
      file: 'test/operations/restore.pg.test.ts',
      title:
        'files of a server that stood still, put back > under a connector that has a delivery on its way: it lets go of that one, and sends what got its numbers',
    },
  },
];
