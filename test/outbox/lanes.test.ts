// Lanes: whoever shares a key goes in order of entry and never at the same time; whoever shares none does not wait.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Lanes, type Place } from '../../src/outbox/lanes/lanes.ts';

interface Job {
  readonly no: number;
  /** Always one, as every delivery has its patient's lane. */
  readonly patient: string;
  readonly identifiers: readonly string[];
  /** Claimed in the middle of the work; only those claim that hold no identifier, as after a 404 of a linked patient. */
  readonly claims: string | null;
  readonly turnsBefore: number;
  readonly turnsAfter: number;
  /** Turns of the event loop before the next one enters. */
  readonly gap: number;
}

const patients = ['P1', 'P2', 'P3', 'P4'];
const identifiers = ['X', 'Y', 'Z'];

const job = fc
  .record({
    patient: fc.constantFrom(...patients),
    identifiers: fc.uniqueArray(fc.constantFrom(...identifiers), { maxLength: 3 }),
    claims: fc.option(fc.constantFrom(...identifiers)),
    turnsBefore: fc.nat(6),
    turnsAfter: fc.nat(6),
    gap: fc.nat(3),
  })
  .map((each) => ({ ...each, claims: each.identifiers.length === 0 ? each.claims : null }));
const jobs = fc.array(job, { maxLength: 60, size: 'max' }).map((all) => all.map((each, no): Job => ({ ...each, no })));

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await null;
}

/** Runs the jobs through the lanes and checks at every moment that nobody holds what another one works with. */
async function run(all: readonly Job[]): Promise<{ lanes: Lanes<Job>; started: Job[] }> {
  const lanes = new Lanes<Job>();
  const working = new Map<string, number>();
  const started: Job[] = [];
  const take = (keys: readonly string[], no: number) => {
    for (const key of keys) {
      expect(working.get(key), `who works with ${key} when ${no} starts`).toBe(undefined);
      working.set(key, no);
    }
  };
  const work = async (each: Job, place: Place<Job>) => {
    await place.ready;
    const keys = [each.patient, ...each.identifiers];
    take(keys, each.no);
    started.push(each);
    await turns(each.turnsBefore);
    if (each.claims) {
      await lanes.claim(place, each.claims);
      take([each.claims], each.no);
      keys.push(each.claims);
    }
    await turns(each.turnsAfter);
    for (const key of keys) working.delete(key);
    lanes.leave(place);
  };
  const done: Promise<void>[] = [];
  for (const each of all) {
    done.push(work(each, lanes.enter(each, [each.patient, ...each.identifiers])));
    await turns(each.gap);
  }
  await Promise.all(done);
  return { lanes, started };
}

describe('Lanes', () => {
  it('let nobody work with a key that another one works with, and everybody come to an end', async () => {
    await fc.assert(
      fc.asyncProperty(jobs, async (all) => {
        const { lanes, started } = await run(all);
        expect(started).toHaveLength(all.length);
        for (const key of [...patients, ...identifiers]) {
          expect(lanes.first(key)).toBe(undefined);
          expect(lanes.in(key)).toEqual([]);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('keep the order of entry for each key', async () => {
    await fc.assert(
      fc.asyncProperty(jobs, async (all) => {
        const { started } = await run(all);
        for (const key of [...patients, ...identifiers]) {
          const order = started.filter((each) => each.patient === key || each.identifiers.includes(key));
          expect(order.map(({ no }) => no)).toEqual(order.map(({ no }) => no).toSorted((a, b) => a - b));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('start at once whoever shares no key with those before', async () => {
    const lanes = new Lanes<string>();
    lanes.enter('waits for ever', ['P1', 'X']);
    await lanes.enter('other', ['P2', 'Y']).ready;
  });

  it('tell who is in a lane, first one first', () => {
    const lanes = new Lanes<string>();
    const first = lanes.enter('first', ['P1']);
    lanes.enter('second', ['P1']);
    expect(lanes.first('P1')).toBe('first');
    expect(lanes.in('P1')).toEqual(['first', 'second']);
    lanes.leave(first);
    expect(lanes.in('P1')).toEqual(['second']);
    expect(lanes.in('P2')).toEqual([]);
  });

  it('take a key that is named twice once', async () => {
    const lanes = new Lanes<string>();
    const place = lanes.enter('one', ['P1', 'P1']);
    await place.ready;
    lanes.leave(place);
    await lanes.enter('next', ['P1']).ready;
  });
});

describe('a claim', () => {
  /** What has happened by now, in order. */
  let events: string[];

  function note(promise: Promise<void> | null, name: string): void {
    void promise?.then(() => events.push(name));
  }

  it('goes before those that have not started and after the one that runs', async () => {
    events = [];
    const lanes = new Lanes<string>();
    const running = lanes.enter('running', ['P1', 'X']);
    const waiting = lanes.enter('waiting', ['P2', 'X']);
    const claimant = lanes.enter('claimant', ['P3']);
    await claimant.ready;
    note(waiting.ready, 'waiting starts');
    note(lanes.claim(claimant, 'X'), 'claimed');
    await turns(5);
    expect(events).toEqual([]);
    lanes.leave(running);
    await turns(5);
    expect(events).toEqual(['claimed']);
    lanes.leave(claimant);
    await turns(5);
    expect(events).toEqual(['claimed', 'waiting starts']);
  });

  it('keeps one from starting that was first in the lane but waits in another', async () => {
    events = [];
    const lanes = new Lanes<string>();
    const before = lanes.enter('before', ['P1']);
    const waiting = lanes.enter('waiting', ['P1', 'X']);
    const claimant = lanes.enter('claimant', ['P2']);
    await claimant.ready;
    expect(lanes.claim(claimant, 'X')).toBe(null);
    note(waiting.ready, 'waiting starts');
    lanes.leave(before);
    await turns(5);
    expect(events).toEqual([]);
    lanes.leave(claimant);
    await turns(5);
    expect(events).toEqual(['waiting starts']);
  });

  it('is granted in the order in which it was made', async () => {
    events = [];
    const lanes = new Lanes<string>();
    const running = lanes.enter('running', ['P1', 'X']);
    const one = lanes.enter('one', ['P2']);
    const two = lanes.enter('two', ['P3']);
    note(lanes.claim(one, 'X'), 'one');
    note(lanes.claim(two, 'X'), 'two');
    lanes.leave(running);
    await turns(5);
    expect(events).toEqual(['one']);
    lanes.leave(one);
    await turns(5);
    expect(events).toEqual(['one', 'two']);
  });

  it('of a free lane, or of one that it is in, is granted at once, and others wait behind it', async () => {
    events = [];
    const lanes = new Lanes<string>();
    const claimant = lanes.enter('claimant', ['P1']);
    expect(lanes.claim(claimant, 'X')).toBe(null);
    expect(lanes.claim(claimant, 'X')).toBe(null);
    const later = lanes.enter('later', ['P2', 'X']);
    note(later.ready, 'later starts');
    await turns(5);
    expect(events).toEqual([]);
    lanes.leave(claimant);
    await turns(5);
    expect(events).toEqual(['later starts']);
  });
});
