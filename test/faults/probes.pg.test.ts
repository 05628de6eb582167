// /healthz and /readyz of a real process, asked all the time: neither flaps while the FHIR server is away, and each fails
// when it should.
import { setInterval } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type ConnectorProcess, connectorEnvironment, spawnConnector } from '../support/connector.ts';
import { addressOf } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { allProcessed } from '../support/outbox.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

const PATIENCE = { timeout: 30_000 };
const ASK_EVERY_MS = 20;
const WELL = ['/healthz 200 streaming', '/readyz 200 streaming'];

let database: TestDatabase;
let sink: FhirSink;
let proxy: TcpProxy;
let connector: ConnectorProcess;

beforeEach(async () => {
  database = await createDatabase();
  sink = await FhirSink.start();
  proxy = await TcpProxy.start(database.config.host, database.config.port);
});

afterEach(async () => {
  connector.child.kill('SIGKILL');
  await connector.exited;
  await proxy.stop();
  await database.drop();
  await sink.stop();
});

async function start(variables: Record<string, string> = {}): Promise<void> {
  const environment = { ...connectorEnvironment(database, sink.url), DB_PORT: String(proxy.port) };
  connector = spawnConnector({ ...environment, ...variables });
  await said('Starting.');
}

async function said(text: string): Promise<void> {
  await vi.waitUntil(() => connector.log.some(({ msg }) => msg.startsWith(text)), PATIENCE);
}

/** As an orchestrator asks: on a new connection, with a time-out. */
async function probe(path: '/healthz' | '/readyz', timeoutMs = 3000): Promise<string> {
  const response = await fetch(`${addressOf(connector)}${path}`, {
    headers: { connection: 'close' },
    signal: AbortSignal.timeout(timeoutMs),
  });
  const { state } = (await response.json()) as { state: string };
  return `${path} ${response.status} ${state}`;
}

const both = async () => [await probe('/healthz'), await probe('/readyz')];

/** Asks both probes until it is told to end. */
function askAllTheTime() {
  const answers: string[] = [];
  const end = new AbortController();
  const asking = (async () => {
    for await (const _ of setInterval(ASK_EVERY_MS)) {
      if (end.signal.aborted) return;
      answers.push(...(await both()));
    }
  })();
  // A probe that fails is told by `end`.
  asking.catch(() => undefined);
  return {
    answers,
    /** Resolves when it has asked many times more than an orchestrator would before it acts. */
    many() {
      const before = answers.length;
      return vi.waitUntil(() => answers.length > before + 100, PATIENCE);
    },
    async end() {
      end.abort();
      await asking;
    },
  };
}

const insert = (value: string) =>
  database.pool.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', $1)`, [value]);

describe('neither probe flaps', () => {
  it('while the FHIR server refuses connections, nor when it is back', async () => {
    await start();
    await said('Streaming.');
    const probes = askAllTheTime();
    await insert('BEFORE');
    await allProcessed(database);
    await sink.stop();
    await insert('MEANWHILE');
    await said('The FHIR server does not work');
    await probes.many();
    await sink.resume();
    await allProcessed(database);
    await probes.end();
    expect(sink.values).toEqual(['BEFORE', 'MEANWHILE']);
    expect([...new Set(probes.answers)].toSorted()).toEqual(WELL);
  });

  it('while the FHIR server takes connections and says nothing', async () => {
    const path = await TcpProxy.start('127.0.0.1', sink.port);
    await start({ FHIR_SERVER: `http://127.0.0.1:${path.port}/fhir`, FHIR_TIMEOUT_MS: '1000' });
    await said('Streaming.');
    const probes = askAllTheTime();
    path.fallSilent();
    await insert('MEANWHILE');
    await said('The FHIR server does not work');
    await probes.many();
    path.recover();
    await allProcessed(database);
    await probes.end();
    await path.stop();
    expect([...new Set(probes.answers)].toSorted()).toEqual(WELL);
  });
});

describe('a probe fails', () => {
  it('/readyz alone, while PostgreSQL is away', async () => {
    await start();
    await said('Streaming.');
    expect(await both()).toEqual(WELL);
    // Nobody listens there.
    proxy.retarget('127.0.0.1', 9);
    proxy.cut();
    await vi.waitUntil(async () => (await probe('/readyz')) === '/readyz 503 reconnecting', PATIENCE);
    expect(await probe('/healthz')).toBe('/healthz 200 reconnecting');
    proxy.retarget(database.config.host, database.config.port);
    await vi.waitUntil(async () => (await both()).join() === WELL.join(), PATIENCE);
  });

  it('/readyz alone, at a start, until the FHIR server has answered once', async () => {
    await start();
    await said('Streaming.');
    connector.child.kill('SIGTERM');
    await connector.exited;
    await sink.stop();
    await start();
    await said('The FHIR server does not answer yet');
    expect(await both()).toEqual(['/healthz 200 starting', '/readyz 503 starting']);
    await sink.resume();
    await vi.waitUntil(async () => (await both()).join() === WELL.join(), PATIENCE);
  });

  it('/healthz too, when the process does nothing any more', async () => {
    await start();
    await said('Streaming.');
    connector.child.kill('SIGSTOP');
    await expect(probe('/healthz', 500)).rejects.toMatchObject({ name: 'TimeoutError' });
    connector.child.kill('SIGCONT');
    await vi.waitUntil(async () => (await probe('/healthz')) === '/healthz 200 streaming', PATIENCE);
  });
});
