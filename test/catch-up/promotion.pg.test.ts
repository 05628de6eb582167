// A standby is promoted that does not have the slot: another timeline of the same cluster.
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { type DatabaseTarget, startConnector } from '../support/connector.ts';
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

beforeAll(async () => {
  // Without a slot for the standby, the primary must keep for it what it has not read yet.
  primary = await startServer({ wal_keep_size: '1GB' });
  standby = await startServer();
  onPrimary = await migrated(primary, 'hospital');
  onStandby = on(standby, 'hospital');
  await makeStandby(standby, primary);
  fhir = await FhirLedger.start();
  proxy = await TcpProxy.start(primary.host, primary.port);
});

afterAll(async () => {
  await proxy.stop();
  await fhir.stop();
  await standby.stop('immediate');
  await primary.stop('immediate');
});

it('a promoted standby without the slot is waited for, noticed and caught up; nothing is lost, repeated or out of order', async () => {
  const connector = startConnector(on(proxy, 'hospital'), fhir.url, { concurrency: 16, timeoutMs: 3000 });
  await streaming(connector);
  const hospital = new Hospital(200);
  await hospital.open(onPrimary);
  await hospital.expectDelivered(onPrimary, fhir);
  // Half of the requests are applied while nobody hears of it, half are on their way, when the primary dies.
  const answers = Promise.withResolvers<void>();
  let sent = 0;
  fhir.fault = ({ method }) => {
    if (method !== 'PUT') return undefined;
    sent += 1;
    return sent % 2 ? { delay: answers.promise } : { cut: 'silent-after' };
  };
  for (let rounds = 0; rounds < 3; rounds += 1) await hospital.change(onPrimary);
  await hospital.passIdentifiersOn(onPrimary);
  await expect.poll(() => sent, PATIENCE).toBe(16);
  await replayed(onPrimary, onStandby);

  proxy.retarget(standby.host, standby.port);
  await primary.pause('immediate');
  await expect.poll(() => linesWith(connector, 'the server is a standby'), PATIENCE).toHaveLength(1);
  expect(await unprocessed(onStandby)).toBe(200 * 2 * 3 + 50);
  await run(onStandby, 'SELECT pg_promote()');
  await expect.poll(() => linesWith(connector, 'on a new timeline'), PATIENCE).toHaveLength(1);
  answers.resolve();
  fhir.fault = undefined;
  await hospital.change(onStandby);
  await hospital.expectDelivered(onStandby, fhir);
  await streaming(connector);
  expect(await catchUps(connector)).toBe(2);
  expect(linesWith(connector, 'making it').at(-1)).toMatchObject({ slotState: 'missing' });
  expect(await ask(onStandby, 'SELECT timeline FROM fhir_slot')).toEqual([{ timeline: 2 }]);

  await hospital.change(onStandby);
  await hospital.expectDelivered(onStandby, fhir);
  await connector.stop();
});
