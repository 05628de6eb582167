// A primary and its standby in DB_HOST: whoever connects goes to the one that is asked for, before and after a promotion.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { freePort } from '../../demo/ports.ts';
import type { Finding } from '../../src/doctor/finding.ts';
import { runCommand } from '../support/command.ts';
import {
  type ConnectorProcess,
  connectorEnvironment,
  type DatabaseTarget,
  spawnConnector,
} from '../support/connector.ts';
import { linesWith } from '../support/connector-state.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { Hospital } from '../support/hospital.ts';
import { PATIENCE } from '../support/patience.ts';
import { makeStandby, migrated, on, replayed, startServer } from '../support/servers.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { run } from '../support/with-client.ts';

let primary: EmbeddedPostgres;
let standby: EmbeddedPostgres;
let fhir: FhirLedger;
let onPrimary: DatabaseTarget;
let onStandby: DatabaseTarget;
let closed: number;
const hospital = new Hospital(50);

beforeAll(async () => {
  primary = await startServer({ wal_keep_size: '1GB' });
  standby = await startServer();
  onPrimary = await migrated(primary, 'hospital');
  onStandby = on(standby, 'hospital');
  await makeStandby(standby, primary);
  fhir = await FhirLedger.start();
  closed = await freePort();
});

afterAll(async () => {
  await fhir.stop();
  await standby.stop('immediate');
  await primary.stop('immediate');
});

/** Of the command, with these ports in DB_PORT and one host for each. */
function environment(...ports: number[]): Record<string, string> {
  return {
    ...connectorEnvironment(onPrimary, fhir.url),
    DB_HOST: ports.map(() => '127.0.0.1').join(','),
    DB_PORT: ports.join(', '),
  };
}

/** What doctor found out about the connection. */
async function connection(variables: Record<string, string>): Promise<string | undefined> {
  const { stdout } = await runCommand(variables, 'doctor', '--json');
  return (JSON.parse(stdout) as Finding[]).find(({ check }) => check === 'Connection')?.found;
}

describe('of a standby and a primary', () => {
  it('the primary is taken where nothing else is said, and what is asked for otherwise', async () => {
    const both = environment(standby.port, primary.port);
    const at = (port: number) => `PostgreSQL at 127.0.0.1:${port} lets the user in.`;
    expect(await connection(both)).toBe(at(primary.port));
    expect(await connection({ ...both, DB_TARGET_SESSION_ATTRS: 'any' })).toBe(at(standby.port));
    expect(await connection({ ...both, DB_TARGET_SESSION_ATTRS: 'read-write' })).toBe(at(primary.port));
    await run(on(primary, 'postgres'), 'ALTER DATABASE hospital SET default_transaction_read_only = on');
    expect(await connection(both)).toBe(at(primary.port));
    expect(await connection({ ...both, DB_TARGET_SESSION_ATTRS: 'read-write' })).toBe(
      `None of the hosts in DB_HOST answers and is what DB_TARGET_SESSION_ATTRS asks for (127.0.0.1:${standby.port} is a standby, 127.0.0.1:${primary.port} is read-only).`,
    );
    await run(on(primary, 'postgres'), 'ALTER DATABASE hospital RESET default_transaction_read_only');
  });

  it('each command takes the primary', async () => {
    const both = environment(standby.port, primary.port);
    for (const command of [['migrate'], ['dlq', 'list'], ['backfill'], ['verify']])
      expect([command, (await runCommand(both, ...command)).status]).toEqual([command, 0]);
  });

  it('a host that says nothing is passed over after ten seconds, by pools too', { timeout: 120_000 }, async () => {
    const silent = await TcpProxy.start(primary.host, primary.port);
    silent.fallSilent();
    expect((await runCommand(environment(silent.port, primary.port), 'backfill')).status).toBe(0);
    await silent.stop();
  });

  it('none that is what is asked for is told with the reason of each, and waited for', async () => {
    const neither = environment(standby.port, closed);
    const reasons = `(127.0.0.1:${standby.port} is a standby, 127.0.0.1:${closed} gives no connection (ECONNREFUSED))`;
    const sentence = `None of the hosts in DB_HOST answers and is what DB_TARGET_SESSION_ATTRS asks for ${reasons}`;
    expect(await runCommand(neither, 'dlq', 'list')).toEqual({ status: 1, stdout: '', stderr: `${sentence}.\n` });
    const connector = spawnConnector(neither);
    await expect
      .poll(() => linesWith(connector, `${sentence}; trying again every second.`).length, PATIENCE)
      .toBeGreaterThan(1);
    connector.child.kill('SIGTERM');
    expect(await connector.exited).toBe(0);
  });

  it('a wrong password is told as such, and ends the connector', async () => {
    const { status, stderr } = await runCommand({ ...environment(standby.port, primary.port), DB_PASSWORD: 'no' });
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(/^PostgreSQL refused the password: check DB_USER and DB_PASSWORD; .*\.\n$/),
    });
  });
});

describe('a connector with both in DB_HOST', () => {
  it('goes on by itself at the standby that was promoted; nothing is lost, repeated or out of order', {
    timeout: 180_000,
  }, async () => {
    const connector: ConnectorProcess = spawnConnector(environment(standby.port, primary.port));
    await hospital.open(onPrimary);
    await hospital.change(onPrimary);
    await hospital.expectDelivered(onPrimary, fhir);
    const answers = Promise.withResolvers<void>();
    let sent = 0;
    fhir.fault = ({ method }) => {
      if (method !== 'PUT') return undefined;
      sent += 1;
      return { delay: answers.promise };
    };
    await hospital.change(onPrimary);
    await expect.poll(() => sent, PATIENCE).toBeGreaterThan(10);
    await replayed(onPrimary, onStandby);

    await primary.pause('immediate');
    await expect.poll(() => linesWith(connector, 'is a standby').length, PATIENCE).toBeGreaterThan(0);
    await run(onStandby, 'SELECT pg_promote()');
    await expect.poll(() => linesWith(connector, 'on a new timeline'), PATIENCE).toHaveLength(1);
    answers.resolve();
    fhir.fault = undefined;
    await hospital.change(onStandby);
    await hospital.expectDelivered(onStandby, fhir);
    connector.child.kill('SIGTERM');
    expect(await connector.exited).toBe(0);
  });
});
