// npm run picture: draws docs/dashboard.svg from what a real Prometheus scraped of a real run of eight minutes: steady changes, a
// change of many patients at once, an outage of the FHIR server, and patients that it refuses.
import { writeFileSync } from 'node:fs';
import { setInterval, setTimeout } from 'node:timers/promises';
import type { Panel, RowPanel } from '@grafana/grafana-foundation-sdk/dashboard';
import pg from 'pg';
import { startEmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { migrate } from '../../src/schema/migrate.ts';
import { type Prometheus, startPrometheus } from '../../test/prometheus/prometheus.ts';
import { runCommand } from '../../test/support/command.ts';
import { connectorEnvironment, spawnConnector } from '../../test/support/connector.ts';
import { FhirSink } from '../../test/support/fhir-sink.ts';
import { dashboardJson } from '../overview/dashboard.ts';
import { type Content, drawingOf } from './drawing.ts';
import type { Span } from './graph.ts';

const PICTURE = 'docs/dashboard.svg';
const PATIENTS = 500;
const STEP_SECONDS = 5;
/** In seconds from the first change on. */
const END = 480;
const OUTAGE = { from: 180, to: 240 };
const MANY_AT = 330;
const REFUSED_AT = 390;
/** Whose data the FHIR server does not take. */
const REFUSED = ['mrn7', 'mrn8', 'mrn9'];

/** By `performance.now`: until the run begins nothing of it is due. */
let began = Number.POSITIVE_INFINITY;

const postgres = await startEmbeddedPostgres({ settings: { max_slot_wal_keep_size: '8GB' } });
const { host, port, user, password } = postgres;
const config = { host, port, user, password, database: 'postgres' };
const database = { name: 'picture', config };
const pool = new pg.Pool(config);
const sink = await FhirSink.start();
const environment = { ...connectorEnvironment(database, sink.url), OUTBOX_LAG_ALERT_SECONDS: '5' };
try {
  const client = await pool.connect();
  await migrate(client, { sample: false });
  client.release();
  sink.script(async (body) => {
    await setTimeout(4 + Math.random() * 16);
    const { value } = (body.identifier as { value: string }[])[0] ?? {};
    return seconds() > REFUSED_AT && REFUSED.includes(value ?? '') ? 422 : undefined;
  });
  const connector = spawnConnector(environment, 'run');
  let prometheus: Prometheus | null = null;
  try {
    let metricsPort: unknown;
    for await (const _ of setInterval(50)) {
      metricsPort = connector.log.find((line) => 'metricsPort' in line)?.metricsPort;
      if (metricsPort !== undefined) break;
      if (connector.child.exitCode !== null) throw new Error(`The connector ended: ${connector.log.at(-1)?.msg}`);
    }
    prometheus = await startPrometheus([`127.0.0.1:${metricsPort}`]);
    await pool.query(
      `INSERT INTO patient (id, identifier_system, identifier_value) SELECT n, 'urn:example:mrn', 'mrn' || n FROM generate_series(1, $1) AS n`,
      [PATIENTS],
    );
    const span = await theRun();
    writeFileSync(PICTURE, drawingOf(await contentsFrom(prometheus, span), span));
    console.log(`Wrote ${PICTURE}.`);
  } finally {
    await prometheus?.stop();
    connector.child.kill('SIGTERM');
    await connector.exited;
  }
} finally {
  await pool.end();
  await sink.stop();
  await postgres.stop('immediate');
}

function seconds(): number {
  return (performance.now() - began) / 1000;
}

/** Some twenty changes a second, and what happens beside them. */
async function theRun(): Promise<Span> {
  const from = Date.now();
  began = performance.now();
  const happenings: (readonly [at: number, () => Promise<unknown>])[] = [
    [60, () => runCommand(environment, 'verify')],
    [OUTAGE.from, () => sink.stop()],
    [OUTAGE.to, () => sink.resume()],
    [MANY_AT, () => pool.query(`UPDATE patient SET phone_number = 'all' WHERE id > 20`)],
    [
      REFUSED_AT + 1,
      () => pool.query(`UPDATE patient SET phone_number = 'refused' WHERE identifier_value = ANY ($1)`, [REFUSED]),
    ],
  ];
  const under: Promise<unknown>[] = [];
  for await (const _ of setInterval(100)) {
    const now = seconds();
    if (now >= END) break;
    while (happenings[0] && now >= happenings[0][0]) {
      const happening = happenings.shift()?.[1]();
      // Told of at the end, when all of them are waited for.
      happening?.catch(() => undefined);
      under.push(happening ?? Promise.resolve());
    }
    const wave = 2 + Math.sin(now / 20);
    await pool.query('UPDATE patient SET phone_number = $1 WHERE id = ANY ($2::bigint[])', [
      String(now),
      Array.from(
        { length: Math.round(wave * Math.random() + 0.5) },
        () => 20 + Math.ceil(Math.random() * (PATIENTS - 20)),
      ),
    ]);
  }
  await Promise.all(under);
  return { from, to: Date.now() };
}

async function contentsFrom(prometheus: Prometheus, span: Span): Promise<Content[]> {
  const { panels } = JSON.parse(dashboardJson()) as { panels: (Panel | RowPanel)[] };
  const contents: Content[] = [];
  for (const panel of panels) {
    const samples = [];
    const lines = [];
    for (const target of targetsOf(panel)) {
      // Four scrapes, as Grafana puts in.
      const expression = target.expr.replaceAll('$__rate_interval', `${4 * STEP_SECONDS}s`);
      const nameOf = (labels: Record<string, string>) =>
        target.legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label: string) => labels[label] ?? '').trim();
      if (target.instant)
        for (const { labels, value } of await prometheus.query(expression))
          samples.push({ name: nameOf(labels), value });
      else
        for (const { labels, points } of await prometheus.queryRange(expression, span, STEP_SECONDS))
          lines.push({ name: nameOf(labels), points });
    }
    contents.push({ panel, samples, lines });
  }
  return contents;
}

interface Target {
  readonly expr: string;
  readonly legendFormat: string;
  readonly instant: boolean;
}

function targetsOf(panel: Panel | RowPanel): readonly Target[] {
  return 'targets' in panel ? (panel.targets as unknown as Target[]) : [];
}
