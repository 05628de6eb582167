// Back-pressure: room by bytes, by deliveries that can be sent, and by deliveries at all.
import { describe, expect, it } from 'vitest';
import { Window } from '../../src/outbox/lanes/window.ts';

const MIB = 1024 * 1024;
const forEver = new AbortController().signal;

async function hasRoom(window: Window): Promise<boolean> {
  const giveUp = new AbortController();
  const room = window.room(giveUp.signal).then(
    () => true,
    () => false,
  );
  await new Promise((resolve) => setImmediate(resolve));
  giveUp.abort();
  return room;
}

describe('Window', () => {
  it('has room for 16 MiB of states', async () => {
    const window = new Window(4);
    window.enter(16 * MIB - 1);
    expect(await hasRoom(window)).toBe(true);
    window.enter(1);
    expect(await hasRoom(window)).toBe(false);
    window.freeBytes(1);
    expect(await hasRoom(window)).toBe(true);
  });

  it('has room for four times as many runnable deliveries as are sent at once, 256 at least', async () => {
    for (const [concurrency, runnable] of [
      [4, 256],
      [200, 800],
    ] as const) {
      const window = new Window(concurrency);
      for (let each = 1; each < runnable; each += 1) window.becomeRunnable();
      expect(await hasRoom(window)).toBe(true);
      window.becomeRunnable();
      expect(await hasRoom(window)).toBe(false);
      window.stopBeingRunnable();
      expect(await hasRoom(window)).toBe(true);
    }
  });

  it('has room for 20,000 deliveries, however small', async () => {
    const window = new Window(4);
    for (let each = 1; each < 20_000; each += 1) window.enter(0);
    expect(await hasRoom(window)).toBe(true);
    window.enter(0);
    expect(window.deliveries).toBe(20_000);
    expect(await hasRoom(window)).toBe(false);
    window.leave(0);
    expect(await hasRoom(window)).toBe(true);
  });

  it('wakes all who wait as soon as there is room', async () => {
    const window = new Window(4);
    window.enter(20 * MIB);
    const waiting = [window.room(forEver), window.room(forEver)];
    window.leave(20 * MIB);
    await Promise.all(waiting);
  });

  it('makes those wait on whom others got ahead of', async () => {
    const window = new Window(4);
    window.enter(20 * MIB);
    let admitted = false;
    const waiting = window.room(forEver).then(() => {
      admitted = true;
    });
    window.leave(20 * MIB);
    window.enter(20 * MIB);
    await new Promise((resolve) => setImmediate(resolve));
    expect(admitted).toBe(false);
    window.leave(20 * MIB);
    await waiting;
  });

  it('does not wake anybody while only part of the room is free', async () => {
    const window = new Window(4);
    window.enter(30 * MIB);
    window.freeBytes(10 * MIB);
    expect(await hasRoom(window)).toBe(false);
  });

  it('tells the reason to who waits and to who comes when it is over', async () => {
    const window = new Window(4);
    const over = new AbortController();
    window.enter(20 * MIB);
    const waiting = window.room(over.signal);
    over.abort(new Error('lost'));
    await expect(waiting).rejects.toThrow('lost');
    window.leave(20 * MIB);
    await expect(window.room(over.signal)).rejects.toThrow('lost');
  });
});
