// The database moves to another cluster, where transaction ids and positions in the WAL begin again: by dump and restore,
// or by logical replication, which leaves the sequences behind.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { type DatabaseTarget, startConnector } from '../support/connector.ts';
import { catchUps, figureOf, linesWith, streaming } from '../support/connector-state.ts';
import { type Fault, FhirLedger, type Request } from '../support/fhir-ledger.ts';
import { familyOf, Hospital } from '../support/hospital.ts';
import { unprocessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { copyRows, migrateAgain, migrated, on, startServer } from '../support/servers.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { ask, run } from '../support/with-client.ts';

const ANOTHER_CLUSTER = 'another cluster or on a new timeline';

const OUTAGE: Fault = { status: 503 };
/** Of a row that was delivered: it is there for its id only. */
const DISCARDED_DEAD_LETTER = `
  INSERT INTO fhir_dlq (resolved_at, resolution, resolution_reason) VALUES (now(), 'discarded', 'test') RETURNING id`;

let servers: { before: EmbeddedPostgres; after: EmbeddedPostgres };
let fhir: FhirLedger;
let before: DatabaseTarget;
let after: DatabaseTarget;
let proxy: TcpProxy;
let tests = 0;

beforeAll(async () => {
  servers = { before: await startServer(), after: await startServer() };
  // The other cluster's transaction ids and positions begin far below.
  const busy = await migrated(servers.before, 'busy');
  await run(busy, 'DO $$ BEGIN FOR n IN 1..5000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$');
  await run(busy, `SELECT pg_logical_emit_message(false, 'ballast', repeat('x', 100000000))`);
});

afterAll(async () => {
  await servers.before.stop('immediate');
  await servers.after.stop('immediate');
});

beforeEach(async () => {
  tests += 1;
  before = await migrated(servers.before, `moved_${tests}`);
  after = await migrated(servers.after, `moved_${tests}`);
  fhir = await FhirLedger.start();
  proxy = await TcpProxy.start(servers.before.host, servers.before.port);
});

afterEach(async () => {
  await proxy.stop();
  await fhir.stop();
});

describe('a database that was dumped and restored into a new cluster', () => {
  it('is caught up by a connector that starts there, and nothing is lost, repeated or out of order', async () => {
    const hospital = new Hospital(150);
    await deliverThenFailToDeliver(hospital, before);
    await copyRows(before, after, { sequences: true });
    await expectCountersFarBelow();
    await hospital.change(after);
    fhir.fault = undefined;

    const connector = startConnector(after, fhir.url);
    await streaming(connector);
    await hospital.expectDelivered(after, fhir);
    expect(await catchUps(connector)).toBe(1);
    expect(linesWith(connector, 'making it')).toHaveLength(1);
    await hospital.change(after);
    await hospital.expectDelivered(after, fhir);
    await connector.stop();
  });

  it('is noticed by a connector that runs, though the old cluster still answers on the connections that are open', async () => {
    const connector = startConnector(on(proxy, before.name), fhir.url);
    await streaming(connector);
    const hospital = new Hospital(150);
    await hospital.open(before);
    await hospital.expectDelivered(before, fhir);
    const answers = holdPuts(() => true);
    await hospital.change(before);
    await hospital.passIdentifiersOn(before);
    await expect.poll(() => answers.held, PATIENCE).toBe(16);
    await copyRows(before, after, { sequences: true });
    await hospital.change(after);

    const kept = await recordConnections(before);
    expect(kept).toBeGreaterThan(0);
    proxy.retarget(servers.after.host, servers.after.port);
    await endWalsender(before);
    await expect.poll(() => linesWith(connector, ANOTHER_CLUSTER), PATIENCE).toHaveLength(1);
    answers.release();
    await hospital.expectDelivered(after, fhir);
    expect(await catchUps(connector)).toBe(2);
    expect(linesWith(connector, ANOTHER_CLUSTER)).toHaveLength(1);
    await connector.stop();
  });

  it('is noticed by a connector that has nothing to do, though no connection was lost', async () => {
    const connector = startConnector(on(proxy, before.name), fhir.url);
    await streaming(connector);
    const hospital = new Hospital(10);
    await hospital.open(before);
    await hospital.expectDelivered(before, fhir);
    await copyRows(before, after, { sequences: true });
    proxy.retarget(servers.after.host, servers.after.port);
    await hospital.change(after);
    await hospital.expectDelivered(after, fhir);
    expect(await catchUps(connector)).toBe(2);
    expect(linesWith(connector, 'The replication connection was lost')).toEqual([
      expect.objectContaining({ code: 'ANOTHER_SERVER' }),
    ]);
    await connector.stop();
  });

  it('keeps a new row apart from an old one of the same id that was on its way at the switch', async () => {
    const connector = startConnector(on(proxy, before.name), fhir.url);
    await streaming(connector);
    await new Hospital(2).open(before);
    await expect.poll(() => unprocessed(before), PATIENCE).toBe(0);
    await copyRows(before, after, { sequences: true });
    const answers = holdPuts(({ body }) => familyOf(body) === 'P1');
    // The copy does not have this one any more, and so gives its id to another change.
    const lost = await change(before, 1, 'lost with the old cluster');
    const kept = await change(after, 2, 'kept');
    expect(kept).toBe(lost);
    await expect.poll(() => answers.held, PATIENCE).toBe(1);

    proxy.retarget(servers.after.host, servers.after.port);
    proxy.cut();
    await expect.poll(() => linesWith(connector, ANOTHER_CLUSTER), PATIENCE).toHaveLength(1);
    answers.release();
    await expect.poll(() => unprocessed(after), PATIENCE).toBe(0);
    expect(fhir.writes.filter(({ body }) => familyOf(body) === 'P2').map(({ body }) => cityOf(body))).toEqual([
      undefined,
      'kept',
    ]);
    await connector.stop();
  });

  it('is caught up although a row with a transaction id of the future was removed meanwhile', async () => {
    await new Hospital(1).open(before);
    await copyRows(before, after, { sequences: true });
    const answers = holdPuts(() => true);
    const connector = startConnector(after, fhir.url);
    await expect.poll(() => answers.held, PATIENCE).toBe(1);
    await run(after, 'DELETE FROM fhir_outbox');
    answers.release();
    await streaming(connector);
    expect(await figureOf(connector.metrics.removedRows)).toBe(2);
    await connector.stop();
  });
});

describe('a database that was moved by logical replication, with its sequences behind', () => {
  const contents = `SELECT count(*)::int AS events, sum(name_given::int)::int AS changes FROM fhir_outbox, patient`;

  it('refuses changes rather than lose them, until the connector moves the sequences on; then all is delivered', async () => {
    const hospital = new Hospital(100);
    await deliverThenFailToDeliver(hospital, before);
    const [letter] = await ask<{ id: string }>(before, DISCARDED_DEAD_LETTER);
    await copyRows(before, after, { sequences: false });
    await run(after, `SELECT setval('patient_id_seq', 1000)`);
    const [copied] = await ask(after, contents);
    await expect(changeInVain(after)).rejects.toMatchObject({ code: '23505', constraint: 'fhir_outbox_pkey' });
    expect(await ask(after, contents)).toEqual([copied]);

    // Each has the transaction id that a change of the same patient has on the new cluster.
    const [next] = await ask<{ xid: string }>(after, 'SELECT pg_current_xact_id() AS xid');
    await run(after, `UPDATE fhir_outbox SET txid = ${next?.xid} WHERE NOT processed`);
    const connector = startConnector(after, fhir.url);
    await expect.poll(() => linesWith(connector, 'Sequences were behind'), PATIENCE).toHaveLength(1);
    await hospital.change(after);
    fhir.fault = undefined;
    await hospital.expectDelivered(after, fhir);
    expect(await catchUps(connector)).toBe(1);

    // What the connector itself numbers does not meet the copied rows either.
    fhir.fault = ({ method }) => (method === 'PUT' ? { status: 422 } : undefined);
    await change(after, 1, 'refused');
    await expect.poll(() => unprocessed(after), PATIENCE).toBe(0);
    expect(await ask(after, 'SELECT id FROM fhir_dlq WHERE http_status = 422')).toEqual([
      { id: String(Number(letter?.id) + 1) },
    ]);
    expect(
      await ask(after, 'SELECT count(*)::int - count(DISTINCT event_key)::int AS n FROM fhir_processed_event'),
    ).toEqual([{ n: 0 }]);
    await connector.stop();
  });

  it('is mended by migrate, too', async () => {
    await new Hospital(1).open(before);
    await copyRows(before, after, { sequences: false });
    await expect(changeInVain(after)).rejects.toMatchObject({ code: '23505', constraint: 'fhir_outbox_pkey' });
    expect(await migrateAgain(after)).toEqual(['Moved the sequences on that were behind their tables: fhir_outbox.']);
    await change(after, 1, 'Boston');
    expect(await migrateAgain(after)).toEqual([]);
  });
});

/** Patients that are on the server, and then an outage in which they are changed: the connector is stopped in it. */
async function deliverThenFailToDeliver(hospital: Hospital, database: DatabaseTarget): Promise<void> {
  const connector = startConnector(database, fhir.url);
  await streaming(connector);
  await hospital.open(database);
  await hospital.expectDelivered(database, fhir);
  fhir.fault = () => OUTAGE;
  for (let rounds = 0; rounds < 2; rounds += 1) await hospital.change(database);
  await hospital.passIdentifiersOn(database);
  await connector.stop();
}

/** Holds the PUTs that `which` names, from now until the release. */
function holdPuts(which: (request: Request) => boolean): { readonly held: number; release(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  let held = 0;
  fhir.fault = (request) => {
    if (request.method !== 'PUT' || !which(request)) return undefined;
    held += 1;
    return { delay: promise };
  };
  return {
    get held() {
      return held;
    },
    release() {
      fhir.fault = undefined;
      resolve();
    },
  };
}

async function expectCountersFarBelow(): Promise<void> {
  const counters = `SELECT pg_current_xact_id()::text::int AS xid, (pg_current_wal_lsn() - '0/0')::float8 AS position`;
  type Counters = { xid: number; position: number };
  const [was] = await ask<Counters>(before, counters);
  const [is] = await ask<Counters>(after, counters);
  expect(is?.xid).toBeLessThan((was?.xid ?? 0) - 4000);
  expect(is?.position).toBeLessThan((was?.position ?? 0) - 50_000_000);
}

async function endWalsender(database: DatabaseTarget): Promise<void> {
  await run(database, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'`);
}

async function recordConnections(database: DatabaseTarget): Promise<number | undefined> {
  const [row] = await ask<{ n: number }>(
    database,
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'fhir-connector records' AND datname = current_database()`,
  );
  return row?.n;
}

async function changeInVain(database: DatabaseTarget): Promise<void> {
  await run(database, `UPDATE patient SET address_city = 'nowhere' WHERE id = 1`);
}

/** Returns the id of the outbox row. */
async function change(database: DatabaseTarget, patient: number, city: string): Promise<string | undefined> {
  await run(database, `UPDATE patient SET address_city = '${city}' WHERE id = ${patient}`);
  return (await ask<{ id: string }>(database, 'SELECT max(id) AS id FROM fhir_outbox'))[0]?.id;
}

function cityOf(body: Request['body']): string | undefined {
  return (body?.address as { city: string }[] | undefined)?.[0]?.city;
}
