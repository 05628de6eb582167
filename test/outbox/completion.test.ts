// All that were added are waited for, none of them is kept, and the first failure is told.
import { describe, expect, it } from 'vitest';
import { Completion } from '../../src/outbox/lanes/completion.ts';

describe('Completion', () => {
  it('is there at once when nothing was added', async () => {
    await expect(new Completion().all()).resolves.toBe(undefined);
  });

  it('comes when the last one is done, in whatever order', async () => {
    const done = new Completion();
    const [one, other] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    done.add(one.promise);
    done.add(other.promise);
    let all = false;
    const waiting = done.all().then(() => {
      all = true;
    });
    other.resolve();
    await other.promise;
    await Promise.resolve();
    expect(all).toBe(false);
    one.resolve();
    await waiting;
  });

  it('fails with the first failure, before and after it is waited for', async () => {
    const done = new Completion();
    const failing = Promise.withResolvers<void>();
    done.add(new Promise(() => undefined));
    done.add(failing.promise);
    const waiting = done.all();
    failing.reject(new Error('first'));
    await expect(waiting).rejects.toThrow('first');
    await expect(done.all()).rejects.toThrow('first');
  });
});
