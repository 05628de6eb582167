// The smoke test of docker-compose.yml: what a user starts, changes, breaks and removes, against the running containers.

import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Composition, type Patient } from './composition.ts';

/** HAPI starts in half a minute to two, and the machine may have other work. */
const PATIENCE = { timeout: 240_000, interval: 500 };
const SAMPLES = ['MRN-001234', 'MRN-003456', 'MRN-005678', 'MRN-007890', 'MRN-009012'];
const HOSPITAL = 'https://hospital.example.com/mrn';

let composition: Composition;

beforeAll(async () => {
  composition = await Composition.create({ project: 'fhir-connector-smoke-test' });
  // An earlier run may have been killed.
  await composition.compose('down', '--volumes', '--remove-orphans');
  await composition.compose('up', '--build', '--wait');
});

afterEach(async ({ task }) => {
  if (task.result?.state === 'fail')
    console.log(await composition.compose('logs', '--no-color', '--tail=30', 'connector', 'postgres', 'hapi'));
});

afterAll(() => composition.compose('down', '--volumes', '--remove-orphans'));

async function patient(system: string, value: string): Promise<Patient | undefined> {
  return (await composition.patients(system))?.find(({ identifier }) => identifier[0]?.value === value);
}

/** Waits until HAPI's patients of this identifier system are the rows: each one once, with the same phone number. */
async function expectHapiToEqualSql(system: string): Promise<void> {
  const phones = `SELECT json_agg(identifier_value || ' ' || phone_number ORDER BY id) FROM patient WHERE identifier_system = '${system}'`;
  const expected = (JSON.parse(await composition.psql(phones)) as string[]).toSorted();
  await expect
    .poll(async () => {
      const found = (await composition.patients(system)) ?? [];
      return found.map(({ identifier, telecom }) => `${identifier[0]?.value} ${telecom?.[0]?.value}`).toSorted();
    }, PATIENCE)
    .toEqual(expected);
}

/**
 * 1,000 transactions: 40 patients, which one page of HAPI holds, each inserted and then changed 24 times; slowly, so that
 * HAPI stops answering when some have been delivered and some are not yet made.
 */
async function interruptedChanges(system: string): Promise<void> {
  const writing = composition.psql(`DO $$ BEGIN
    FOR n IN 1..40 LOOP
      INSERT INTO patient (identifier_system, identifier_value, phone_number) VALUES ('${system}', n, '0');
      COMMIT;
    END LOOP;
    FOR round IN 1..24 LOOP FOR n IN 1..40 LOOP
      UPDATE patient SET phone_number = round WHERE identifier_system = '${system}' AND identifier_value = n::text;
      COMMIT;
      PERFORM pg_sleep(0.01);
    END LOOP; END LOOP;
  END $$`);
  const delivered = `SELECT count(*) FROM fhir_outbox WHERE processed AND identifier_system = '${system}'`;
  await expect.poll(async () => Number(await composition.psql(delivered)), PATIENCE).toBeGreaterThan(100);
  await composition.compose('pause', 'hapi');
  await writing;
}

/** `verify` compares every patient and lists every resource. It fails when anything differs. */
async function expectNoDrift(): Promise<void> {
  expect(await composition.operator('verify')).toMatch(/no drift/i);
}

async function unprocessed(): Promise<number> {
  return Number(await composition.psql('SELECT count(*) FROM fhir_outbox WHERE NOT processed'));
}

async function deadLetters(): Promise<number> {
  return Number(await composition.psql('SELECT count(*) FROM fhir_dlq'));
}

async function stateOf(service: string): Promise<{ State: string; Health: string; ExitCode: number }> {
  return JSON.parse(await composition.compose('ps', '--all', '--format=json', service));
}

describe('docker compose up', () => {
  it('brings the five sample patients to HAPI', async () => {
    await expect.poll(() => composition.fhir('metadata'), PATIENCE).not.toBeNull();
    const values = async () => (await composition.patients(HOSPITAL))?.map(({ identifier }) => identifier[0]?.value);
    await expect.poll(async () => (await values())?.toSorted(), { timeout: 30_000 }).toEqual(SAMPLES);
  });

  it('builds an image that adds less than 40 MB to its base', async () => {
    const megabytes = Number.parseInt(await composition.inConnector('du', '-sm', '/app'), 10);
    console.log(`The connector's image adds ${megabytes} MB to its base.`);
    expect(megabytes).toBeLessThan(40);
  });

  it('lets Prometheus scrape the connector', async () => {
    await expect.poll(() => composition.prometheus('up{job="fhir_connector"}'), PATIENCE).toBe(1);
    await expect
      .poll(() => composition.prometheus('fhir_connector_processed_total'), PATIENCE)
      .toBeGreaterThanOrEqual(10);
  });
});

describe('a change made with psql', () => {
  it('is a created, an updated and then an inactive patient on HAPI', async () => {
    await composition.psql(`INSERT INTO patient (name_family, identifier_system, identifier_value, phone_number)
      VALUES ('Crud', 'urn:crud', '1', '+1-555-1')`);
    await expect
      .poll(() => patient('urn:crud', '1'), PATIENCE)
      .toMatchObject({
        active: true,
        name: [{ family: 'Crud' }],
        telecom: [{ value: '+1-555-1' }],
        meta: { versionId: '1' },
      });
    await composition.psql(`UPDATE patient SET phone_number = '+1-555-2' WHERE identifier_system = 'urn:crud'`);
    await expect
      .poll(() => patient('urn:crud', '1'), PATIENCE)
      .toMatchObject({ active: true, telecom: [{ value: '+1-555-2' }], meta: { versionId: '2' } });
    await composition.psql(`DELETE FROM patient WHERE identifier_system = 'urn:crud'`);
    await expect
      .poll(() => patient('urn:crud', '1'), PATIENCE)
      .toMatchObject({ active: false, meta: { versionId: '3' } });
  });

  it("of each kind, by the README's line for sql/test_events.sql, is delivered", async () => {
    const [line] = /^docker compose exec .* < sql\/test_events\.sql/m.exec(readFileSync('README.md', 'utf8')) ?? [];
    expect(line).toContain('-U owner');
    expect(await composition.shell(line ?? '')).not.toMatch(/ERROR|FATAL/);
    await expect.poll(unprocessed, PATIENCE).toBe(0);
    // Inserted, three times changed alone, three times in one transaction, deleted.
    expect(await patient('https://hospital.example.com/test', 'MRN-TEST-1')).toMatchObject({
      active: false,
      meta: { versionId: '6' },
    });
    expect(await deadLetters()).toBe(1);
  });
});

describe('the operator', () => {
  it('sees the dead letter that test_events.sql makes, and nothing of the patient', async () => {
    const listed = await composition.operator('dlq', 'list', '--state', 'all', '--json');
    expect(JSON.parse(listed)).toMatchObject({ total: 1 });
    const said = await composition.operator('dlq', 'list', '--state', 'all');
    expect(said).toContain('Moved by hand by test_events.sql');
    expect(said).not.toContain('MRN-TEST');
  });

  it("asks doctor by the runbook's line, as the connector's own login, which finds nothing wrong", async () => {
    const told = await composition.compose('run', '--rm', '--no-deps', 'connector', 'doctor');
    expect(told).toMatch(/^✓ Triggers: All 8 are there and enabled/m);
    expect(told).toMatch(/^✓ Patients' tables: connector may neither read nor change them/m);
    expect(told).toMatch(/\n0 faults, /);
  });

  it('reads logs that are JSON, a line an event, with what belongs to each delivery', async () => {
    const [, line] = /^(docker logs .*) \| jq \.$/m.exec(readFileSync('README.md', 'utf8')) ?? [];
    const lines = (await composition.shell(line?.replace(' -f ', ' ') ?? '')).trim().split('\n');
    const events = lines.map((event) => JSON.parse(event));
    expect(events.find(({ msg }) => msg === 'delivered')).toMatchObject({
      service: 'fhir-connector',
      worker_id: 'compose',
      txid: expect.any(Number),
      outboxIds: expect.arrayContaining([expect.any(Number)]),
      fhirId: expect.any(String),
      version: expect.any(String),
    });
  });
});

describe('1,000 changes', () => {
  it('all arrive, once each, when PostgreSQL is restarted in the middle', async () => {
    await interruptedChanges('urn:restart');
    await composition.compose('restart', 'postgres');
    expect(await unprocessed()).toBeGreaterThan(0);
    await composition.compose('unpause', 'hapi');
    await expectHapiToEqualSql('urn:restart');
    const versions = (await composition.patients('urn:restart'))?.map(({ meta }) => meta.versionId);
    expect(new Set(versions)).toEqual(new Set(['25']));
    await expectNoDrift();
  });

  it('all arrive, once each, when the connector is killed in the middle and started again', async () => {
    await interruptedChanges('urn:kill');
    await composition.compose('kill', '--signal=SIGKILL', 'connector');
    expect(await unprocessed()).toBeGreaterThan(0);
    await composition.compose('unpause', 'hapi');
    await composition.compose('up', '--detach');
    await expectHapiToEqualSql('urn:kill');
    const versions = (await composition.patients('urn:kill'))?.map(({ meta }) => meta.versionId);
    expect(new Set(versions)).toEqual(new Set(['25']));
    await expectNoDrift();
  });
});

describe('an outage of HAPI', () => {
  it('makes no dead letters and no restart: what was committed meanwhile arrives after it', async () => {
    const before = await deadLetters();
    await composition.compose('stop', 'hapi');
    await composition.psql(`INSERT INTO patient (identifier_system, identifier_value, phone_number)
      SELECT 'urn:outage', n, 'meanwhile' FROM generate_series(1, 20) AS n`);
    await expect.poll(() => composition.prometheus('fhir_outbox_unprocessed_count'), PATIENCE).toBe(20);
    await expect.poll(() => composition.prometheus('fhir_breaker_state{state="outage"}'), PATIENCE).toBe(1);
    expect(await stateOf('connector')).toMatchObject({ State: 'running', Health: 'healthy' });
    await composition.compose('start', 'hapi');
    await expectHapiToEqualSql('urn:outage');
    await expect.poll(() => composition.prometheus('fhir_outbox_unprocessed_count'), PATIENCE).toBe(0);
    expect(await deadLetters()).toBe(before);
  });
});

describe('compose/own-servers.yml', () => {
  it('runs the connector on the servers that connector.env names: here it stands by, and takes over', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'fhir-connector-own-'));
    const file = join(folder, 'connector.env');
    await writeFile(
      file,
      `DB_HOST=postgres
DB_NAME=health
DB_USER=connector
DB_PASSWORD=connector
DB_SSLMODE=disable
FHIR_SERVER=http://hapi:8080/fhir
FHIR_ALLOW_HTTP=true
`,
    );
    const own = await Composition.create({
      project: 'fhir-connector-smoke-test-own',
      overrides: ['compose/own-servers.yml'],
      environment: { CONNECTOR_ENV: file },
    });
    try {
      await own.compose('up', '--no-start', 'connector');
      await own.joinNetworkOf(composition);
      await own.compose('start', 'connector');
      await expect.poll(() => own.connectorState(), PATIENCE).toBe('standby');
      await composition.compose('stop', 'connector');
      await expect.poll(() => own.connectorState(), PATIENCE).toBe('streaming');
      await composition.psql(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:own', '1')`);
      await expect.poll(() => patient('urn:own', '1'), PATIENCE).toMatchObject({ active: true });
    } finally {
      await own.compose('down', '--volumes');
      await rm(folder, { recursive: true });
      await composition.compose('start', 'connector');
    }
    await expect.poll(() => composition.connectorState(), PATIENCE).toBe('streaming');
  });
});

describe('docker compose stop and down', () => {
  it('end the connector with status 0', async () => {
    await composition.compose('stop', 'connector');
    expect(await stateOf('connector')).toMatchObject({ State: 'exited', ExitCode: 0 });
  });

  it('keep all data: after the next up HAPI and PostgreSQL are as they were, and the next change is the next version', async () => {
    const before = await patient('urn:kill', '1');
    const processed = await composition.psql('SELECT count(*) FROM fhir_outbox WHERE processed');
    await composition.compose('down');
    await composition.compose('up', '--wait');
    await expect.poll(() => patient('urn:kill', '1'), PATIENCE).toEqual(before);
    expect(await composition.psql('SELECT count(*) FROM fhir_outbox WHERE processed')).toBe(processed);
    await composition.psql(
      `UPDATE patient SET phone_number = 'next' WHERE identifier_system = 'urn:kill' AND identifier_value = '1'`,
    );
    await expect
      .poll(() => patient('urn:kill', '1'), PATIENCE)
      .toMatchObject({ id: before?.id, telecom: [{ value: 'next' }], meta: { versionId: '26' } });
  });

  it('show every figure of the dashboard in Prometheus again', async () => {
    for (const figure of [
      'max(up{job="fhir_connector"})',
      'max(fhir_outbox_unprocessed_count)',
      'max(fhir_outbox_lag_seconds)',
      'max(fhir_dlq_total)',
      'sum(rate(fhir_connector_processed_total[1m]))',
      'sum(rate(fhir_connector_failed_total[1m]))',
      'histogram_quantile(0.99, sum by (le) (rate(fhir_call_latency_seconds_bucket[1m])))',
      'sum(rate(fhir_call_errors_total[1m]))',
    ])
      await expect
        .poll(() => composition.prometheus(figure), { ...PATIENCE, message: figure })
        .toBeGreaterThanOrEqual(0);
  });

  it('leave nothing behind, with --volumes', async () => {
    expect(await composition.leftovers()).not.toEqual([]);
    await composition.compose('down', '--volumes');
    expect(await composition.leftovers()).toEqual([]);
  });
});
