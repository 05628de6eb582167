// The sampler without a PostgreSQL to ask: refused, and accepted by a server that never answers.

import { createServer, type Server, type Socket } from 'node:net';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { freePort } from '../../demo/ports.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { createSampler } from '../../src/metrics/sampler.ts';
import { WHOLE } from '../../src/shard.ts';
import { figureOf } from '../support/connector-state.ts';

const cleanups: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

const listen = (server: Server) =>
  new Promise<number>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') reject(new Error('not a TCP address'));
      else resolve(address.port);
    });
  });

function samplerAt(port: number) {
  const pool = new pg.Pool({ host: '127.0.0.1', port, user: 'nobody', database: 'nowhere' });
  pool.on('error', () => undefined);
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  cleanups.push(() => db.destroy());
  const lines: string[] = [];
  const log = {
    info: (...parts: unknown[]) => lines.push(`info ${parts.at(-1)}`),
    warn: (...parts: unknown[]) => lines.push(`warn ${parts.at(-1)}`),
  };
  const metrics = createMetrics();
  return { sampler: createSampler(db, 'a_slot', WHOLE, metrics, log), metrics, lines };
}

describe('the sampler', () => {
  test('tells an unknown slot, keeps the last values and logs once while PostgreSQL refuses', async () => {
    const { sampler, metrics, lines } = samplerAt(await freePort());
    metrics.slotState.set('reserved');
    metrics.outboxUnprocessed.set(7);

    await sampler.sampleOnce();
    // A start that fails says itself why.
    expect(lines).toEqual([]);
    await sampler.sampleOnce();
    await sampler.sampleOnce();

    expect(metrics.slotState.get()).toBe('unknown');
    expect(await figureOf(metrics.outboxUnprocessed)).toBe(7);
    expect(lines).toEqual([expect.stringMatching(/^warn .*PostgreSQL did not answer/)]);
  });

  test('does not wait for ever for a server that accepts and never answers, nor ask it twice', async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => {
      sockets.push(socket);
    });
    const port = await listen(silent);
    // The sockets first: the pool cannot close while it waits for an answer.
    cleanups.push(() => {
      for (const socket of sockets) socket.destroy();
      silent.close();
    });
    const { sampler, metrics, lines } = samplerAt(port);
    metrics.slotState.set('reserved');

    await Promise.all([sampler.sampleOnce(), sampler.sampleOnce()]);

    expect(metrics.slotState.get()).toBe('unknown');
    expect(sockets).toHaveLength(1);
    expect(lines).toEqual([expect.stringMatching(/^warn .*PostgreSQL did not answer/)]);
  }, 15_000);

  test('stops at once when told to', async () => {
    const { sampler, metrics, lines } = samplerAt(await freePort());
    metrics.slotState.set('reserved');
    const stop = new AbortController();
    const running = sampler.run(stop.signal);
    await expect.poll(() => metrics.slotState.get()).toBe('unknown');
    stop.abort();
    await running;
    expect(lines).toEqual([]);
  });
});
