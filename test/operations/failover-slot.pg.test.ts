// A standby that has the slot too (a failover slot, of PostgreSQL 17 on): nothing reaches the FHIR server that the standby
// does not have, and after its promotion the connector goes on with the slot that is there.
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { type DatabaseTarget, type RunningConnector, slotOf, startConnector } from '../support/connector.ts';
import { catchUps, linesWith, streaming } from '../support/connector-state.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { Hospital } from '../support/hospital.ts';
import { unprocessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { makeStandby, migrated, on, replayed, startServer } from '../support/servers.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { ask, run } from '../support/with-client.ts';

let primary: EmbeddedPostgres;
let standby: EmbeddedPostgres;
let fhir: FhirLedger;
let proxy: TcpProxy;
let onPrimary: DatabaseTarget;
let onStandby: DatabaseTarget;
let connector: RunningConnector;
let slot: string;
const hospital = new Hospital(100);

beforeAll(async () => {
  // Whatever version the other tests run on, this one needs 17.
  vi.stubEnv('EMBEDDED_POSTGRES', undefined);
  primary = await startServer();
  standby = await startServer();
  onPrimary = await migrated(primary, 'hospital');
  onStandby = on(standby, 'hospital');
  slot = slotOf(onPrimary);
  fhir = await FhirLedger.start();
  proxy = await TcpProxy.start(primary.host, primary.port);

  await run(onPrimary, `SELECT pg_create_physical_replication_slot('standby', true)`);
  await makeStandby(standby, primary, {
    primary_slot_name: 'standby',
    hot_standby_feedback: 'on',
    sync_replication_slots: 'on',
  });
  await run(onPrimary, `ALTER SYSTEM SET synchronized_standby_slots = 'standby'`);
  await run(onPrimary, 'SELECT pg_reload_conf()');
  await start();
});

afterAll(async () => {
  await connector.stop();
  await proxy.stop();
  await fhir.stop();
  await standby.stop('immediate');
  await primary.stop('immediate');
  vi.unstubAllEnvs();
});

async function start(): Promise<void> {
  connector = startConnector(on(proxy, 'hospital'), fhir.url);
  await vi.waitUntil(() => connector.metrics.connectorState.get() === 'streaming', PATIENCE);
}

async function walsenderWaitsForTheStandby(): Promise<boolean> {
  const [waiting] = await ask(
    onPrimary,
    `SELECT FROM pg_stat_activity JOIN pg_replication_slots ON active_pid = pid
      WHERE slot_name = '${slot}' AND wait_event = 'WaitForStandbyConfirmation'`,
  );
  return waiting !== undefined;
}

/** The standby has the slot for good once it has reached a point from which it can be read there. */
async function slotIsOnTheStandby(): Promise<boolean> {
  await run(onPrimary, 'SELECT pg_log_standby_snapshot()');
  const [synced] = await ask(
    onStandby,
    `SELECT FROM pg_replication_slots WHERE slot_name = '${slot}' AND synced AND NOT temporary`,
  );
  return synced !== undefined;
}

describe('a slot that a standby has, too,', () => {
  it('hands nothing out that the standby does not have', async () => {
    await hospital.open(onPrimary);
    await hospital.expectDelivered(onPrimary, fhir);
    await standby.pause('fast');
    const written = fhir.writes.length;
    await hospital.change(onPrimary);
    await expect.poll(walsenderWaitsForTheStandby, PATIENCE).toBe(true);
    expect(fhir.writes).toHaveLength(written);
    expect(await unprocessed(onPrimary)).toBe(200);
    await standby.start();
    await hospital.expectDelivered(onPrimary, fhir);
  });

  it('is gone on with after the promotion of the standby; nothing is lost, repeated or out of order', async () => {
    await expect.poll(slotIsOnTheStandby, PATIENCE).toBe(true);
    const answers = Promise.withResolvers<void>();
    let sent = 0;
    fhir.fault = ({ method }) => {
      if (method !== 'PUT') return undefined;
      sent += 1;
      return { delay: answers.promise };
    };
    await hospital.change(onPrimary);
    await hospital.passIdentifiersOn(onPrimary);
    await expect.poll(() => sent, PATIENCE).toBe(16);
    await replayed(onPrimary, onStandby);
    const [made, caughtUp] = [linesWith(connector, 'making it anew').length, await catchUps(connector)];

    proxy.retarget(standby.host, standby.port);
    await primary.pause('immediate');
    await run(onStandby, 'SELECT pg_promote()');
    await expect.poll(() => linesWith(connector, 'on a new timeline'), PATIENCE).toHaveLength(1);
    answers.resolve();
    fhir.fault = undefined;
    await hospital.change(onStandby);
    await hospital.expectDelivered(onStandby, fhir);
    await streaming(connector);
    expect(linesWith(connector, 'making it anew')).toHaveLength(made);
    expect(await catchUps(connector)).toBe((caughtUp ?? 0) + 1);
    expect(await ask(onStandby, `SELECT failover FROM pg_replication_slots WHERE slot_name = '${slot}'`)).toEqual([
      { failover: true },
    ]);

    await hospital.change(onStandby);
    await hospital.expectDelivered(onStandby, fhir);
  });
});
