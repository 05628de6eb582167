// PostgreSQL is stopped and started, and crashes: nothing of a patient is said.
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { CanaryWorld, PATIENCE } from './world.ts';

const ALL = ['log', '/', '/status.json', '/metrics', 'pg_stat_activity'];

let server: EmbeddedPostgres;
let world: CanaryWorld;

beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false });
  const { host, port, user, password } = server;
  world = await CanaryWorld.create({ name: 'canary', config: { host, port, user, password, database: 'postgres' } });
});
afterAll(async () => {
  await world.close();
  await server.stop('immediate');
});

test('PostgreSQL that is stopped and started, and that crashes, is told of without a patient', async () => {
  const connector = world.start();
  await world.streaming(connector);
  for (const mode of ['fast', 'immediate'] as const) {
    await world.patients.add();
    await server.pause(mode);
    await vi.waitUntil(() => connector.log.some(({ code }) => code === 'ECONNREFUSED'), PATIENCE);
    const refused = await world.command('dlq', 'list');
    expect(refused.status).toBe(1);
    await server.start();
    await world.delivered(await world.patients.add());
  }
  await world.expectClean(...ALL, 'traces', 'dlq list');
});
