// How long from COMMIT to the PUT's arrival, beside a bare PUT of the same run: `node bench/latency.ts [--seconds 30]`.
//
// The target: at 50 transactions a second no outbox row stays unprocessed, and the p99 from commit to PUT is at most
// three times the p99 of a bare PUT, plus 10 ms. Exit status 1 says that it was missed.
//
// The commit's time is taken in the client BEFORE it sends COMMIT. After its answer would flatter: the PUT can arrive
// before the client hears of its commit. So the time that PostgreSQL takes to flush the commit is in the measure; it is
// also told apart, for on a disk or a machine that is busy with other things it is the larger part.
// The FHIR server and the connector run in processes of their own, PostgreSQL with fsync.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay, setInterval } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { Pool } from 'undici';
import { startEmbeddedPostgres } from '../demo/embedded-postgres.ts';
import { migrate } from '../src/migrate.ts';
import { connectorEnvironment, spawnConnector } from '../test/support/connector.ts';
import type { Arrival } from './sink.ts';

const PER_SECOND = 50;
const PATIENTS = 200;
const DRAIN_MS = 10_000;

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '30' } } });
const seconds = Number(values.seconds);
if (!Number.isInteger(seconds) || seconds < 1) {
  console.error('--seconds must be a whole number, 1 at least.');
  process.exit(2);
}

/** Milliseconds of the clock that all processes of a machine share. */
const now = () => Number(process.hrtime.bigint()) / 1e6;

const server = await startEmbeddedPostgres();
const { host, port, user, password } = server;
const database = { name: 'bench', config: { host, port, user, password, database: 'postgres' } };
const pool = new pg.Pool({ ...database.config, max: 10 });
// At the end the server stops while the last of its connections are being closed.
pool.on('error', () => undefined);
const client = await pool.connect();
await migrate(client, { sample: false });
client.release();

const sink = fork(new URL('./sink.ts', import.meta.url));
const { url } = await heard<{ url: string }>(sink);
const connector = spawnConnector(connectorEnvironment(database, url));
process.on('exit', () => connector.child.kill());
while (!connector.log.some(({ msg }) => msg === 'Streaming.')) {
  if (connector.child.exitCode !== null) throw new Error(connector.stderr.join('\n'));
  await delay(50);
}

const patients: number[] = [];
for (let n = 0; n < PATIENTS; n += 1) patients.push(await addPatient(pool, `known-${n}`, ''));
await drained();

const { commits, roundTrips, barePuts } = await run();
const unprocessed = await drained();
sink.send('report');
const { arrivals } = await heard<{ arrivals: Arrival[] }>(sink);
const bare = untilArrival(barePuts, arrivals);
const committed = untilArrival(commits, arrivals);

const target = 3 * percentile(bare, 99) + 10;
const measured = percentile(committed, 99);
const met = measured <= target && unprocessed === 0;
describe('Bare PUT, sent → received', bare);
describe('Commit → PUT received', committed);
describe('  of which COMMIT, sent → answered', roundTrips);
console.log(`Outbox rows unprocessed ${DRAIN_MS / 1000} s after the end at the latest: ${unprocessed}`);
console.log(`Target, p99 ≤ 3 × bare p99 + 10 ms = ${target.toFixed(1)} ms: ${met ? 'met' : 'MISSED'}`);
process.exitCode = met ? 0 : 1;

connector.child.kill('SIGTERM');
await connector.exited;
sink.disconnect();
await pool.end();
await server.stop('fast');

/** The load: transactions and bare PUTs at the same rate, whether or not the ones before are finished. */
async function run() {
  const http = new Pool(new URL(url).origin, { connections: 4 });
  const commits = new Map<string, number>();
  const roundTrips: number[] = [];
  const barePuts = new Map<string, number>();
  const running: Promise<void>[] = [];
  for await (const _ of setInterval(1000 / PER_SECOND)) {
    const n = running.length / 2;
    running.push(transaction(n, commits, roundTrips), barePut(http, n, barePuts));
    if (n + 1 === seconds * PER_SECOND) break;
  }
  await Promise.all(running);
  await http.close();
  return { commits, roundTrips, barePuts };
}

/** Four in five update a known patient, one in five adds one. */
async function transaction(n: number, commits: Map<string, number>, roundTrips: number[]): Promise<void> {
  const connection = await pool.connect();
  const phone = `commit-${n}`;
  await connection.query('BEGIN');
  if (n % 5 === 0) await addPatient(connection, `new-${n}`, phone);
  else await connection.query('UPDATE patient SET phone_number = $1 WHERE id = $2', [phone, patients[n % PATIENTS]]);
  const sent = now();
  await connection.query('COMMIT');
  commits.set(phone, sent);
  roundTrips.push(now() - sent);
  connection.release();
}

/** What the connector would send, without the connector. */
async function barePut(http: Pool, n: number, barePuts: Map<string, number>): Promise<void> {
  // Half an interval after the transaction, so that neither waits for the other.
  await delay(500 / PER_SECOND);
  const phone = `bare-${n}`;
  const body = JSON.stringify({
    resourceType: 'Patient',
    identifier: [{ system: 'urn:bench', value: phone }],
    active: true,
    name: [{ text: 'Jane Doe', family: 'Doe', given: ['Jane'] }],
    telecom: [{ system: 'phone', value: phone }],
    gender: 'female',
  });
  barePuts.set(phone, now());
  const headers = { 'content-type': 'application/fhir+json' };
  const answer = await http.request({ method: 'PUT', path: `/fhir/Patient/bare-${n % PATIENTS}`, headers, body });
  await answer.body.dump();
}

async function addPatient(connection: pg.ClientBase | pg.Pool, identifier: string, phone: string): Promise<number> {
  const { rows } = await connection.query<{ id: number }>(
    `INSERT INTO patient (name_family, name_given, gender, identifier_system, identifier_value, phone_number)
     VALUES ('Doe', 'Jane', 'female', 'urn:bench', $1, $2) RETURNING id`,
    [identifier, phone],
  );
  return rows[0]?.id ?? 0;
}

/** Waits until no outbox row is unprocessed, for DRAIN_MS at most, and returns how many are. */
async function drained(): Promise<number> {
  for (const until = now() + DRAIN_MS; ; await delay(50)) {
    const { rows } = await pool.query<{ n: number }>('SELECT count(*)::int AS n FROM fhir_outbox WHERE NOT processed');
    const n = rows[0]?.n ?? Number.NaN;
    if (n === 0 || now() > until) return n;
  }
}

async function heard<T>(child: ChildProcess): Promise<T> {
  const [message] = await once(child, 'message');
  return message as T;
}

/** Milliseconds from each start to the arrival of its PUT; infinite where none arrived. */
function untilArrival(starts: ReadonlyMap<string, number>, arrivals: readonly Arrival[]): number[] {
  const arrivedAt = new Map(arrivals.map(({ phone, at }) => [phone, at]));
  return [...starts].map(([phone, at]) => (arrivedAt.get(phone) ?? Number.POSITIVE_INFINITY) - at);
}

function percentile(samples: readonly number[], percent: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.ceil((sorted.length * percent) / 100) - 1] ?? Number.NaN;
}

function describe(what: string, samples: readonly number[]): void {
  const figures = [50, 90, 99, 100].map((percent) => `p${percent} ${percentile(samples, percent).toFixed(1)} ms`);
  console.log(`${what}: ${figures.join(', ')} (${samples.length} in ${seconds} s)`);
}
