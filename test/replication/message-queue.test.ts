// The queue between a socket's events and a loop, with a real stream pair as the socket.
import { once } from 'node:events';
import { duplexPair, PassThrough } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MessageQueue } from '../../src/replication/stream/message-queue.ts';

const MIB = 1024 * 1024;
/** As much as may wait. */
const MARK = MIB / 2;
const CHUNK = MARK / 16;

async function drain<T>(queue: MessageQueue<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const batch of queue) items.push(...batch);
  return items;
}

describe('MessageQueue', () => {
  it('pauses the socket when more than 512 KiB wait, and lets it go on once they are worked off', async () => {
    const [sender, socket] = duplexPair();
    const queue = new MessageQueue<Buffer>(socket);
    const seen: { bytes: number; paused: boolean }[] = [];
    let received = 0;
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length;
      queue.push(chunk, chunk.length);
    });
    socket.on('end', () => undefined);

    const written = 3 * MARK;
    const sending = (async () => {
      for (let sent = 0; sent < written; sent += CHUNK) {
        if (!sender.write(Buffer.alloc(CHUNK, sent / CHUNK))) await once(sender, 'drain');
      }
    })();
    // Nobody reads the queue: the socket stops by itself, a chunk or so past the mark.
    await expect.poll(() => socket.isPaused()).toBe(true);
    expect(received).toBeGreaterThan(MARK);
    expect(received).toBeLessThan(1.25 * MARK);

    const order: number[] = [];
    for await (const batch of queue) {
      const bytes = batch.reduce((sum, chunk) => sum + chunk.length, 0);
      seen.push({ bytes, paused: socket.isPaused() });
      for (const chunk of batch) order.push(...new Set(chunk));
      if (received === written && seen.reduce((sum, each) => sum + each.bytes, 0) === written) break;
    }
    await sending;
    expect(Math.max(...seen.map(({ bytes }) => bytes))).toBeLessThan(1.25 * MARK);
    // It was still paused while the first batch was worked off, and flowed again afterwards.
    expect(seen[0]?.paused).toBe(true);
    expect(seen.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(written);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });

  it('does not touch a socket that never sends more than is worked off', async () => {
    let touched = 0;
    const count = () => {
      touched += 1;
    };
    const queue = new MessageQueue<number>({ pause: count, resume: count });
    const reading = drain(queue);
    for (let item = 0; item < 100; item += 1) {
      queue.push(item, MARK);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    queue.end(new Error('over'));
    await expect(reading).rejects.toThrow('over');
    expect(touched).toBe(0);
  });

  it('stays paused after a batch while what arrived meanwhile is much, and resumes after that', async () => {
    const calls: string[] = [];
    const queue = new MessageQueue<string>({ pause: () => calls.push('pause'), resume: () => calls.push('resume') });
    queue.push('first', 5 * MIB);
    expect(calls).toEqual(['pause']);
    const batches = queue[Symbol.asyncIterator]();
    expect((await batches.next()).value).toEqual(['first']);
    queue.push('what the socket still held', 2 * MIB);
    expect((await batches.next()).value).toEqual(['what the socket still held']);
    expect(calls).toEqual(['pause']);
    const waiting = batches.next();
    await new Promise<void>((resolve) => setImmediate(resolve));
    expect(calls).toEqual(['pause', 'resume']);
    queue.push('next', 1);
    expect((await waiting).value).toEqual(['next']);
  });

  it('gives everything once and in order, whenever it is pushed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(3), { maxLength: 60, size: 'max' }), async (gaps) => {
        const queue = new MessageQueue<number>(new PassThrough());
        const seen: number[] = [];
        const all = Promise.withResolvers<void>();
        const reading = (async () => {
          for await (const batch of queue) {
            await null;
            seen.push(...batch);
            if (seen.length === gaps.length) all.resolve();
          }
        })();
        for (const [item, gap] of gaps.entries()) {
          for (let turn = 0; turn < gap; turn += 1) await null;
          queue.push(item, 1);
        }
        if (gaps.length > 0) await all.promise;
        queue.end(null);
        await reading;
        expect(seen).toEqual([...gaps.keys()]);
      }),
    );
  });

  it('hands over many in several batches, between which others have their turn', async () => {
    const queue = new MessageQueue<number>(new PassThrough());
    const sent = Array.from({ length: 1000 }, (_, item) => item);
    for (const item of sent) queue.push(item, 1);
    const seen: number[] = [];
    let turns = 0;
    let sizes = 0;
    const other = () => {
      turns += 1;
      if (seen.length < sent.length) setImmediate(other);
    };
    setImmediate(other);
    for await (const batch of queue) {
      seen.push(...batch);
      sizes += 1;
      expect(turns).toBeGreaterThanOrEqual(sizes - 1);
      if (seen.length === sent.length) break;
    }
    expect(seen).toEqual(sent);
    expect(sizes).toBeGreaterThan(5);
  });

  it('hands over what is queued in one batch', async () => {
    const queue = new MessageQueue<number>(new PassThrough());
    for (const item of [1, 2, 3]) queue.push(item, 1);
    expect(await queue[Symbol.asyncIterator]().next()).toEqual({ done: false, value: [1, 2, 3] });
  });

  it('wakes a reader that waits and fails it with the error', async () => {
    const queue = new MessageQueue<number>(new PassThrough());
    const reading = drain(queue);
    await null;
    queue.end(new Error('the connection broke'));
    await expect(reading).rejects.toThrow('the connection broke');
  });

  it('ends once: the first end counts, what is queued is dropped, and what comes later is not taken', async () => {
    let pauses = 0;
    const queue = new MessageQueue<number>({ pause: () => (pauses += 1), resume: () => undefined });
    queue.push(1, 1);
    queue.end(null);
    queue.end(new Error('later'));
    queue.push(2, 5 * MIB);
    expect(pauses).toBe(0);
    await expect(drain(queue)).resolves.toEqual([]);
  });

  it('fails a reader that comes after the error', async () => {
    const queue = new MessageQueue<number>(new PassThrough());
    queue.push(1, 1);
    queue.end(new Error('before anyone read'));
    await expect(drain(queue)).rejects.toThrow('before anyone read');
  });
});
