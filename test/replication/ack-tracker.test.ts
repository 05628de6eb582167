// The low-water mark against a model that keeps every transaction and computes the mark from the definition.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Lsn } from '../../src/postgres/lsn.ts';
import { AckTracker, type Ticket } from '../../src/replication/acknowledgement/ack-tracker.ts';

const lsn = (position: number | bigint) => BigInt(position) as Lsn;

/** What a stream can do next; positions come from a counter, for the WAL only grows. */
const step = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ kind: 'begin' } as const) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('finish' as const), which: fc.nat(1000) }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'idle' } as const) },
);

interface Known {
  readonly ticket: Ticket;
  readonly end: Lsn;
  finished: boolean;
}

/** By definition: the end of the last transaction before the lowest unfinished one, or of an idle moment before it. */
function markOf(start: Lsn, transactions: readonly Known[], idleMarks: readonly Lsn[]): Lsn {
  const lowest = transactions.findIndex(({ finished }) => !finished);
  const settled = lowest === -1 ? transactions : transactions.slice(0, lowest);
  return [start, ...idleMarks, ...settled.map(({ end }) => end)].reduce((a, b) => (a > b ? a : b));
}

describe('AckTracker', () => {
  it('is at the mark that the definition gives after any order of begin, finish and idle', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), fc.bigInt(0n, 5000n), (steps, from) => {
        const start = lsn(from);
        const tracker = new AckTracker(start);
        const transactions: Known[] = [];
        const idleMarks: Lsn[] = [];
        let position = 1000n;
        let before = tracker.lowWaterMark;
        for (const each of steps) {
          position += 10n;
          if (each.kind === 'begin') {
            transactions.push({ ticket: tracker.begin(), end: lsn(position), finished: false });
          } else if (each.kind === 'finish') {
            const open = transactions.filter(({ finished }) => !finished);
            const one = open[each.which % open.length];
            if (!one) continue;
            one.finished = true;
            tracker.finish(one.ticket, one.end);
          } else {
            tracker.idle(lsn(position));
            if (transactions.every(({ finished }) => finished)) idleMarks.push(lsn(position));
          }
          expect(tracker.lowWaterMark).toBe(markOf(start, transactions, idleMarks));
          expect(tracker.lowWaterMark >= before).toBe(true);
          before = tracker.lowWaterMark;
        }
      }),
    );
  });

  it('never reports less than the start, whatever finishes', () => {
    const tracker = new AckTracker(lsn(500));
    tracker.finish(tracker.begin(), lsn(100));
    tracker.idle(lsn(200));
    expect(tracker.lowWaterMark).toBe(500n);
  });

  it('does not pass an unfinished transaction, however much finishes behind it', () => {
    const tracker = new AckTracker(lsn(0));
    const slow = tracker.begin();
    for (let end = 20; end <= 100; end += 10) tracker.finish(tracker.begin(), lsn(end));
    expect(tracker.lowWaterMark).toBe(0n);
    tracker.finish(slow, lsn(10));
    expect(tracker.lowWaterMark).toBe(100n);
  });

  it('lets a keepalive count only when nothing is unfinished', () => {
    const tracker = new AckTracker(lsn(0));
    const open = tracker.begin();
    tracker.idle(lsn(50));
    expect(tracker.lowWaterMark).toBe(0n);
    tracker.finish(open, lsn(40));
    expect(tracker.lowWaterMark).toBe(40n);
    tracker.idle(lsn(60));
    expect(tracker.lowWaterMark).toBe(60n);
  });

  it('counts what is unfinished', () => {
    const tracker = new AckTracker(lsn(0));
    const [one, two] = [tracker.begin(), tracker.begin()];
    expect(tracker.unfinished).toBe(2);
    tracker.finish(two, lsn(20));
    expect(tracker.unfinished).toBe(1);
    tracker.finish(one, lsn(10));
    expect(tracker.unfinished).toBe(0);
  });

  it('keeps nothing of what is settled, even behind an unfinished transaction', () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const tracker = new AckTracker(lsn(0));
    const first = tracker.begin();
    const settled: WeakRef<Ticket>[] = [];
    (function settleMany() {
      for (let end = 10; end <= 100_000; end += 10) {
        const ticket = tracker.begin();
        tracker.finish(ticket, lsn(end));
        settled.push(new WeakRef(ticket));
      }
    })();
    return new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      // A WeakRef holds its target until the turn of the event loop that made it has ended.
      collectGarbage();
      expect(settled.filter((ticket) => ticket.deref() !== undefined).length).toBeLessThan(10);
      tracker.finish(first, lsn(5));
      expect(tracker.lowWaterMark).toBe(100_000n);
    });
  });
});
