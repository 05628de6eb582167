// One trace from the commit to the FHIR server: the spans of a real connector, as a collector gets them, and the header that the
// FHIR server gets.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { type ConnectorProcess, connectorEnvironment, spawnConnector } from '../support/connector.ts';
import { streaming } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { Collector } from '../support/trace-collector.ts';

const PATIENCE = { timeout: 30_000, interval: 50 };
const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';
const NAME = 'Nobody-may-read-this';

let database: TestDatabase;
let sink: FhirSink;
let collector: Collector;
let connector: ConnectorProcess;
let count = 0;

beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

beforeEach(async () => {
  sink = await FhirSink.start();
  collector = await Collector.start();
});
afterEach(async () => {
  connector.child.kill('SIGTERM');
  await connector.exited;
  await sink.stop();
  await collector.stop();
});

/** Spans are sent every 20 ms. */
const traced = () => ({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_SCHEDULE_DELAY: '20' });

function start(environment: Record<string, string>): void {
  connector = spawnConnector({ ...connectorEnvironment(database, sink.url), ...environment });
}

/** In one transaction, with app.traceparent as the application sets it; returns its txid and its outbox row. */
async function insert(
  traceparent: string | null,
): Promise<{ txid: number; outboxId: number; traceparent: string | null }> {
  count += 1;
  const client = await database.pool.connect();
  try {
    await client.query('BEGIN');
    if (traceparent !== null) await client.query("SELECT set_config('app.traceparent', $1, true)", [traceparent]);
    await client.query('INSERT INTO patient (identifier_system, identifier_value, name_family) VALUES ($1, $2, $3)', [
      'urn:traces',
      `${NAME}-${count}`,
      NAME,
    ]);
    const { rows } = await client.query(
      'SELECT txid::int, id::int AS "outboxId", traceparent FROM fhir_outbox ORDER BY id DESC LIMIT 1',
    );
    await client.query('COMMIT');
    return rows[0];
  } finally {
    client.release();
  }
}

const delivered = (txid: number) => connector.log.find((line) => line.msg === 'delivered' && line.txid === txid);
const logged = (txid: number) => vi.waitUntil(() => delivered(txid), PATIENCE);
/** The spans of the transaction: the delivery's, and those of its tries. */
async function spansOf(txid: number) {
  const delivery = await vi.waitUntil(
    () => collector.spans.find(({ attributes }) => attributes['fhir_connector.txid'] === txid),
    PATIENCE,
  );
  const { traceId, spanId } = delivery;
  return { delivery, tries: collector.spans.filter((span) => span.traceId === traceId && span.parentId === spanId) };
}

test('a trace goes from the application, by the delivery and its try, to the FHIR server, and is in the log', async () => {
  start(traced());
  // What was committed before is read from the table, and has no place in the WAL.
  await streaming(connector);
  const before = new Date();
  const { txid, outboxId } = await insert(`00-${TRACE}-${SPAN}-01`);
  const line = await logged(txid);
  const { delivery, tries } = await spansOf(txid);
  expect(delivery).toMatchObject({ name: 'deliver Patient', traceId: TRACE, parentId: SPAN, failed: false });
  expect(delivery.attributes).toMatchObject({
    'fhir_connector.lsn': expect.stringMatching(/^[0-9A-F]+\/[0-9A-F]+$/),
    'fhir_connector.outbox_ids': [outboxId],
    'fhir_connector.event_key': line.eventKey,
    'fhir_connector.outcome': 'delivered',
    'fhir.id': line.fhirId,
  });
  // From the commit, which was before anything was read.
  expect(delivery.startedAt.getTime()).toBeGreaterThanOrEqual(before.getTime() - 1);
  expect(delivery.startedAt.getTime()).toBeLessThanOrEqual(tries[0]?.startedAt.getTime() ?? 0);
  expect(delivery.resource).toMatchObject({ 'service.name': 'fhir-connector' });
  expect(tries).toMatchObject([
    { name: 'send Patient', failed: false, attributes: { 'fhir_connector.result': 'written' } },
  ]);
  expect(sink.puts.at(-1)?.traceparent).toBe(`00-${TRACE}-${tries[0]?.spanId}-01`);
  expect(line).toMatchObject({ traceId: TRACE, lsn: delivery.attributes['fhir_connector.lsn'] });
});

test('without the application’s a delivery is a trace of its own, and each failed try is a span that says so', async () => {
  let refusals = 2;
  sink.script(() => {
    refusals -= 1;
    return refusals < 0 ? undefined : 503;
  });
  start({ ...traced(), OTEL_SERVICE_NAME: 'ward-7', OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test' });
  const { txid } = await insert(null);
  const line = await logged(txid);
  const { delivery, tries } = await spansOf(txid);
  expect(delivery).toMatchObject({ parentId: '', failed: false });
  expect(delivery.resource).toMatchObject({ 'service.name': 'ward-7', 'deployment.environment.name': 'test' });
  expect(line.traceId).toBe(delivery.traceId);
  expect(tries.map(({ failed, attributes }) => [failed, attributes['error.type']])).toEqual([
    [true, 'http-503'],
    [true, 'http-503'],
    [false, undefined],
  ]);
});

test('no span holds patients’ data', async () => {
  start(traced());
  const { txid } = await insert(null);
  await spansOf(txid);
  await vi.waitUntil(() => collector.text.includes('fhir_connector.txid'), PATIENCE);
  expect(collector.text).not.toContain(NAME);
});

test('a collector that is away holds nobody up, and is told of once', async () => {
  const url = collector.url;
  await collector.stop();
  start({ OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_BSP_SCHEDULE_DELAY: '20' });
  const { txid } = await insert(null);
  await logged(txid);
  await vi.waitUntil(() => connector.log.some(({ msg }) => msg.startsWith('Traces could not be sent')), PATIENCE);
  await logged((await insert(null)).txid);
  connector.child.kill('SIGTERM');
  expect(await connector.exited).toBe(0);
  expect(connector.log.filter(({ msg }) => msg.startsWith('Traces could not be sent'))).toHaveLength(1);
  collector = await Collector.start();
});

test('where nobody asks for traces the application’s goes on to the FHIR server as it is', async () => {
  start({});
  const traceparent = `00-${TRACE}-${SPAN}-01`;
  const { txid } = await insert(traceparent);
  expect(await logged(txid)).toMatchObject({ traceId: TRACE });
  expect(sink.puts.at(-1)?.traceparent).toBe(traceparent);
  const { txid: other } = await insert(null);
  expect(await logged(other)).not.toHaveProperty('traceId');
  expect(sink.puts.at(-1)?.traceparent).toBeNull();
  expect(collector.spans).toEqual([]);
});

test.each(['', 'Jane Doe', `00-${TRACE}-${SPAN}-01 Jane`, `00-${TRACE.toUpperCase()}-${SPAN}-01`])(
  'what is no traceparent (%j) is not kept, and fails no change',
  async (text) => {
    start({});
    const { txid, traceparent } = await insert(text);
    expect(traceparent).toBeNull();
    expect(await logged(txid)).not.toHaveProperty('traceId');
  },
);

test.each([
  ['OTEL_TRACES_EXPORTER', 'zipkin', /knows otlp .* and none/],
  ['OTEL_EXPORTER_OTLP_PROTOCOL', 'grpc', /http\/protobuf alone/],
])('%s=%s ends the start with a sentence', async (name, value, sentence) => {
  start({ ...traced(), [name]: value });
  expect(await connector.exited).toBe(1);
  expect(connector.stderr.join('\n')).toMatch(sentence);
});
