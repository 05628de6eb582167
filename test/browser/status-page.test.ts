// The status page in a real browser, beside a connector that runs as in production: what a stranger sees first.
// With PICTURES=docs it takes the pictures of docs/status-page.md as well.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import type { Live } from '../../src/metrics/status-page/live.ts';
import { connectorEnvironment, type DatabaseTarget, slotOf } from '../support/connector.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { migrated, on, startServer } from '../support/servers.ts';
import { run } from '../support/with-client.ts';

const PATIENCE = { timeout: 60_000, interval: 200 };

let browser: Browser;
// One for all, with a database that is made anew for each.
let server: EmbeddedPostgres;
let database: DatabaseTarget;
let sink: FhirSink;
let page: Page;
let connector: ChildProcess;
let address: string;

beforeAll(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox'],
  });
  server = await startServer({ max_slot_wal_keep_size: '64MB' });
});
afterAll(async () => {
  await browser.close();
  await server.stop('immediate');
});

beforeEach(async () => {
  database = await migrated(server, 'health');
  sink = await FhirSink.start();
  await startConnector();
  page = await browser.newPage({ viewport: { width: 1100, height: 1150 } });
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  await page.goto(address);
  await expect.poll(() => headline(), PATIENCE).toBe('Flowing');
  expect(faults).toEqual([]);
});

/** Resolves when its page can be opened. */
async function startConnector(settings: Record<string, string> = {}): Promise<void> {
  const environment = {
    ...connectorEnvironment(database, sink.url),
    WORKER_ID: 'connector-1',
    OUTBOX_LAG_ALERT_SECONDS: '5',
    ...settings,
  };
  const child = spawn(process.execPath, ['src/main.ts', 'run'], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  connector = child;
  for await (const line of createInterface(child.stdout)) {
    const { metricsPort } = JSON.parse(line);
    if (metricsPort === undefined) continue;
    address = `http://127.0.0.1:${metricsPort}/`;
    break;
  }
  child.stdout.resume();
}

async function stopConnector(): Promise<void> {
  const exited = once(connector, 'exit');
  if (connector.kill('SIGTERM')) await exited;
}

afterEach(async () => {
  await page.close();
  await stopConnector();
  await sink.stop();
  await run(database, `SELECT pg_drop_replication_slot('${slotOf(database)}')`);
  await run(on(server, 'postgres'), `DROP DATABASE ${database.name} WITH (FORCE)`);
});

const headline = () => page.locator('#headline h1').innerText();
const explained = () => page.locator('#headline .why').innerText();
const advised = () => page.locator('#headline .next').innerText();
const figure = (id: string) => page.locator(`#${id}`).innerText();

async function live(): Promise<Live> {
  const response = await fetch(`${address}status.json`);
  return (await response.json()) as Live;
}

async function picture(name: string): Promise<void> {
  const folder = process.env.PICTURES;
  if (folder) await page.screenshot({ path: join(folder, `status-${name}.png`), fullPage: true });
}

/** Changes of patients, one transaction each. */
const change = (from: number, to: number) =>
  run(
    database,
    `DO $$ BEGIN FOR n IN ${from}..${to} LOOP
       INSERT INTO patient (identifier_system, identifier_value, name_family) VALUES ('urn:t', 'p' || n, 'Curie'); COMMIT;
     END LOOP; END $$`,
  );

/** Whoever reads the slot is ended, and the slot dropped; stopped meanwhile, the connector cannot take it again before. */
async function loseSlot(): Promise<void> {
  connector.kill('SIGSTOP');
  await run(
    database,
    `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
      WHERE slot_name = '${slotOf(database)}' AND pg_terminate_backend(active_pid, 5000)`,
  );
  connector.kill('SIGCONT');
  await vi.waitFor(async () => expect((await live()).state).toBe('catching-up'), PATIENCE);
}

describe('the status page', () => {
  it('says that data flows, how far behind it is and how long the disk will hold, and draws what was delivered', async () => {
    // So many for the picture; five points make a line.
    for (let part = 0; part < (process.env.PICTURES ? 12 : 5); part += 1) {
      await change(part * 50 + 1, (part + 1) * 50);
      await vi.waitFor(() => expect(sink.puts.length).toBe((part + 1) * 50), PATIENCE);
      // The next point of the chart.
      const points = (await live()).history.length;
      await expect.poll(async () => (await live()).history.length, PATIENCE).toBeGreaterThan(points);
    }
    await expect.poll(() => explained(), PATIENCE).toBe('Nothing waits in the outbox.');
    expect(await headline()).toBe('Flowing');
    expect(await figure('server')).toBe('works');
    expect(await figure('kept')).toMatch(/^\d+ MB$/);
    expect(await figure('runway')).toMatch(/^of \d+ MB at most/);
    await expect
      .poll(async () => (await page.locator('#rate path.a').getAttribute('d'))?.match(/L/g)?.length ?? 0, PATIENCE)
      .toBeGreaterThan(3);
    expect(await page.locator('body').innerText()).not.toContain('Curie');
    await picture('flowing');
  });

  it('says that it waits for the FHIR server, and that nothing is lost', async () => {
    await change(1, 20);
    await vi.waitFor(() => expect(sink.puts.length).toBe(20), PATIENCE);
    await sink.stop();
    await change(21, 60);
    await expect.poll(() => headline(), PATIENCE).toBe('Waiting for the FHIR server');
    await expect
      .poll(() => explained(), PATIENCE)
      .toMatch(/40 rows wait in the outbox, and stay there until delivered: nothing is lost/);
    expect(await advised()).toMatch(/goes on by itself/);
    expect(await figure('server')).toBe('does not work');
    expect(await figure('address')).toBe(sink.url);
    // The chart says what the headline says.
    expect(await page.locator('#backlog text').first().textContent()).toBe('0.0');
    expect(await page.locator('#backlog text').nth(2).textContent()).toBe('40');
    expect(await page.locator('#faults').innerText()).toMatch(
      /The FHIR server does not work: holding all deliveries.*\[code (unreachable|network), reason /,
    );
    await picture('outage');
    await sink.resume();
    await expect.poll(() => headline(), PATIENCE).toBe('Flowing');
  });

  it('says that the slot was lost, and that what waits is delivered all the same', async () => {
    await change(1, 20);
    await vi.waitFor(() => expect(sink.puts.length).toBe(20), PATIENCE);
    // What is open now holds up the making of a new slot.
    const open = new pg.Client(database.config);
    await open.connect();
    try {
      await open.query('BEGIN; CREATE TABLE something_else (what text)');
      const { rows } = await open.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      await loseSlot();
      await change(21, 60);
      await expect.poll(() => headline(), PATIENCE).toBe('No replication slot: PostgreSQL is making it');
      await expect
        .poll(() => explained(), PATIENCE)
        .toMatch(/40 rows wait in the outbox, and stay there until delivered: nothing is lost/);
      expect(await figure('server')).toBe('works');
      expect(await page.locator('#faults').innerText()).toMatch(/The slot is missing: making it anew/);
      await expect
        .poll(() => page.locator('#faults').innerText(), PATIENCE)
        .toMatch(new RegExp(`PostgreSQL waits for the transaction of this process.*\\[process ${rows[0]?.pid}, role `));
      await picture('slot-lost');
    } finally {
      await open.end();
    }
    await expect.poll(() => headline(), PATIENCE).toBe('Flowing');
    await vi.waitFor(() => expect(sink.values).toContain('p60'), PATIENCE);
  });

  it('says that the FHIR server is away at a start, too', async () => {
    await stopConnector();
    await sink.stop();
    await startConnector();
    await page.goto(address);
    await expect.poll(() => headline(), PATIENCE).toBe('Waiting for the FHIR server');
    expect(await figure('server')).toBe('does not work');
    await sink.resume();
    await expect.poll(() => headline(), PATIENCE).toBe('Flowing');
  });

  it('says that its figures are old while a lock keeps PostgreSQL from telling new ones', async () => {
    const holder = new pg.Client(database.config);
    await holder.connect();
    try {
      await holder.query('BEGIN; LOCK TABLE fhir_outbox');
      await expect.poll(() => headline(), PATIENCE).toBe('PostgreSQL does not tell how it stands');
      expect(await explained()).toMatch(/What waits in the outbox is not known: the figures are \d+ s old/);
      expect(await figure('behind')).toBe('unknown');
    } finally {
      await holder.end();
    }
    await expect.poll(() => headline(), PATIENCE).toBe('Flowing');
  });

  it('says that triggers are off', async () => {
    await run(database, 'ALTER TABLE patient DISABLE TRIGGER fhir_patient_update');
    await expect.poll(() => headline(), PATIENCE).toBe('Changes pass unseen: triggers are off');
    expect(await explained()).toMatch(/^1 trigger missing or disabled: .* never reaches the FHIR server\.$/);
    await run(database, 'ALTER TABLE patient ENABLE TRIGGER fhir_patient_update');
    await expect.poll(() => headline(), PATIENCE).toBe('Flowing');
  });

  it('says that the connector does not answer when it has ended', async () => {
    await stopConnector();
    await expect.poll(() => headline(), PATIENCE).toBe('The connector does not answer');
    expect(await explained()).toMatch(/What is shown below is from/);
  });

  it('is for its reader alone where there is one, who is asked once and sees it live', async () => {
    await stopConnector();
    await startConnector({ STATUS_USER: 'zoe', STATUS_PASSWORD: 'p@ss wörd' });
    // Nobody is there to be asked. A page of its own: Chromium goes on to its page of errors when it has said so.
    const stranger = await browser.newPage();
    await expect(stranger.goto(address)).rejects.toThrow('ERR_INVALID_AUTH_CREDENTIALS');
    await stranger.close();
    const reader = await browser.newPage();
    try {
      const answers: number[] = [];
      reader.on('response', (response) => {
        if (response.url().endsWith('status.json')) answers.push(response.status());
      });
      // The page's own requests have to do without what stands in its address.
      await reader.goto(address.replace('://', `://zoe:${encodeURIComponent('p@ss wörd')}@`));
      await expect.poll(() => reader.locator('#headline h1').innerText(), PATIENCE).toBe('Flowing');
      await expect.poll(() => answers.length, PATIENCE).toBeGreaterThan(2);
      expect(new Set(answers)).toEqual(new Set([200]));
    } finally {
      await reader.close();
    }
  });

  it('says that the password is another one by now', async () => {
    const reader = { STATUS_USER: 'zoe', METRICS_PORT: new URL(address).port };
    await stopConnector();
    await startConnector({ ...reader, STATUS_PASSWORD: 'before' });
    const open = await browser.newPage({ httpCredentials: { username: 'zoe', password: 'before' } });
    try {
      await open.goto(address);
      await expect.poll(() => open.locator('#headline h1').innerText(), PATIENCE).toBe('Flowing');
      await stopConnector();
      await startConnector({ ...reader, STATUS_PASSWORD: 'after' });
      await expect
        .poll(() => open.locator('#headline h1').innerText(), PATIENCE)
        .toBe('Another user or password is needed');
      expect(await open.locator('#headline .why').innerText()).toMatch(/What is shown below is from/);
    } finally {
      await open.close();
    }
  });

  it('is readable in the dark, and on a small screen', async () => {
    await page.emulateMedia({ colorScheme: 'dark' });
    const colours = await page.evaluate(
      '(({ backgroundColor, color }) => [backgroundColor, color])(getComputedStyle(document.body))',
    );
    expect(colours).toEqual(['rgb(20, 23, 28)', 'rgb(230, 233, 238)']);
    await picture('dark');
    await page.setViewportSize({ width: 360, height: 700 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
  });

  // The last one, as it stops the server that all share.
  it('says that PostgreSQL is away, at a start and later', async () => {
    await server.pause('immediate');
    await expect.poll(() => headline(), PATIENCE).toBe('No connection to PostgreSQL');
    await stopConnector();
    await startConnector();
    await page.goto(address);
    await expect.poll(() => headline(), PATIENCE).toBe('No connection to PostgreSQL');
    expect(await explained()).toMatch(/What waits in the outbox is not known yet/);
    await server.start();
    await expect.poll(() => headline(), PATIENCE).toBe('Flowing');
  });
});
