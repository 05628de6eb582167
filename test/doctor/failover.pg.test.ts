// `doctor` on a primary with standbys: is the slot a failover slot, and is synchronized_standby_slots what it must be?
import pg from 'pg';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import type { Finding } from '../../src/doctor/finding.ts';
import { runCommand } from '../support/command.ts';
import {
  connectorEnvironment,
  type DatabaseTarget,
  type RunningConnector,
  startConnector,
} from '../support/connector.ts';
import { streaming } from '../support/connector-state.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { PATIENCE } from '../support/patience.ts';
import { migrated, startServer } from '../support/servers.ts';
import { ask, run, withClient } from '../support/with-client.ts';

let server: EmbeddedPostgres;
let database: DatabaseTarget;
let sink: FhirSink;
let connector: RunningConnector;

beforeAll(async () => {
  // Whatever version the other tests run on, this one needs 17.
  vi.stubEnv('EMBEDDED_POSTGRES', undefined);
  server = await startServer();
  database = await migrated(server, 'hospital');
  sink = await FhirSink.start();
  connector = startConnector(database, sink.url);
});

afterAll(async () => {
  await connector.stop();
  await sink.stop();
  await server.stop('immediate');
  vi.unstubAllEnvs();
});

async function finding(check: string): Promise<Finding | undefined> {
  const { stdout } = await runCommand(connectorEnvironment(database, sink.url), 'doctor', '--json');
  return (JSON.parse(stdout) as Finding[]).find((one) => one.check === check);
}

async function mend(found: Finding | undefined): Promise<void> {
  for (const statement of found?.fix?.sql?.split('\n') ?? []) await run(database, statement);
}

/** As the walreceiver of a standby does. */
async function reads(slot: string): Promise<pg.Client> {
  const standby = new pg.Client({ ...database.config, replication: 'true' } as pg.ClientConfig);
  standby.on('error', () => undefined);
  await standby.connect();
  const [from] = await ask<{ lsn: string }>(
    database,
    'SELECT restart_lsn AS lsn FROM pg_replication_slots WHERE slot_name = $1',
    [slot],
  );
  standby.query(`START_REPLICATION SLOT ${slot} PHYSICAL ${from?.lsn}`).catch(() => undefined);
  return standby;
}

it('doctor says of a slot that is no failover slot what makes it one, and that does', async () => {
  await streaming(connector);
  await connector.stop();
  await withClient({ ...database.config, replication: 'database' } as pg.ClientConfig, (client) =>
    client.query(`ALTER_REPLICATION_SLOT ${connector.slot} (FAILOVER false)`),
  );
  expect(await finding('Failover slot')).toMatchObject({
    verdict: 'warning',
    fix: { say: expect.stringMatching(/Restart the connector/) },
  });
  connector = startConnector(database, sink.url);
  await streaming(connector);
  expect(await finding('Failover slot')).toMatchObject({ verdict: 'ok' });
  expect(await finding('synchronized_standby_slots')).toBeUndefined();
});

it('doctor says which setting keeps the FHIR server from being ahead of a standby, and which one stops everything', {
  timeout: 120_000,
}, async () => {
  const check = 'synchronized_standby_slots';
  await run(database, "SELECT pg_create_physical_replication_slot('near', true)");
  const unnamed = await finding(check);
  expect(unnamed).toMatchObject({ verdict: 'warning', found: expect.stringMatching(/does not name near/) });
  await mend(unnamed);

  const unread = await finding(check);
  expect(unread).toMatchObject({
    verdict: 'fault',
    found: expect.stringMatching(/names near, which no standby reads/),
  });
  const standby = await reads('near');
  await expect.poll(async () => (await finding(check))?.verdict, PATIENCE).toBe('ok');
  await standby.end();

  await expect
    .poll(
      () =>
        run(database, "SELECT pg_drop_replication_slot('near')").then(
          () => true,
          () => false,
        ),
      PATIENCE,
    )
    .toBe(true);
  const absent = await finding(check);
  expect(absent).toMatchObject({ verdict: 'fault', found: expect.stringMatching(/names near, and there is no such/) });
  await mend(absent);
  await expect.poll(() => finding(check), PATIENCE).toBeUndefined();
});
