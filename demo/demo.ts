// `npm run demo`: PostgreSQL, a FHIR server and the connector on this machine, from npm packages alone, and what they do.

import { parseArgs, styleText } from 'node:util';
import { alignedLine, tableLines } from '../src/cli/output.ts';
import { formatLsn, LSN_ZERO, parseLsn } from '../src/postgres/lsn.ts';
import { comparePatients } from './comparison.ts';
import type { FhirWrite } from './fhir-write.ts';
import { LiveView } from './live-view.ts';
import { watchNpm } from './npm-watch.ts';
import type { RunningDemo } from './running-demo.ts';
import { type Services, SLOT, startServices } from './services.ts';
import { runTestEvents } from './test-events.ts';

const USAGE =
  'Usage: npm run demo, which stays up until Ctrl-C; or npm run demo -- --once, which ends when all is delivered.';

const say = (line: string) => process.stdout.write(`${line}\n`);
const heading = (text: string) => say(`\n${styleText('bold', text)}`);

const stop = new AbortController();
// Not once: npm hands a signal on that the terminal has sent to this process already.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => stop.abort(new Error(`Interrupted by ${signal}.`)));
watchNpm(() => stop.abort(new Error('npm has ended.')));

const once = readOptions();
try {
  await demonstrate();
} catch (error) {
  const interrupted = stop.signal.aborted;
  if (interrupted && !once) say('\nEnded; nothing is left behind.');
  else {
    process.exitCode = 1;
    const message = interrupted ? 'Interrupted before everything was delivered.' : explain(error);
    process.stderr.write(`${styleText('red', message, { stream: process.stderr })}\n`);
  }
}

function readOptions(): boolean {
  try {
    return parseArgs({ options: { once: { type: 'boolean', default: false } } }).values.once;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${USAGE}\n`);
    process.exit(1);
  }
}

/** Throws what ends it: a signal, or what went wrong. Returns only with --once. */
async function demonstrate(): Promise<void> {
  await using open = new AsyncDisposableStack();
  say(
    styleText('bold', 'Health Tables → FHIR Connector: a committed row becomes a PUT, and its LSN is acknowledged.\n'),
  );
  const writes = new Map<string, FhirWrite>();
  const onWrite = (write: FhirWrite) => void writes.set(`${write.reference} v${write.versionId}`, write);
  const services = await startServices(open, onWrite, say, stop.signal);
  const view = new LiveView(services.watch, writes, say);
  const signal = AbortSignal.any([stop.signal, services.ended]);
  try {
    await runStory(services, view, signal);
    if (!once) await view.follow(signal);
  } catch (error) {
    // Where a service has ended, that says more than what then failed.
    signal.throwIfAborted();
    throw error;
  }
}

async function runStory(services: Services, view: LiveView, signal: AbortSignal): Promise<void> {
  heading('The patients that were there before the connector: it catches up with the outbox');
  view.header();
  await view.settle(signal);
  await runTestEvents(services.owner, view, say, signal);
  await showPatients(services, view);
  if (once) return;
  showWhereToLook(services);
  view.header();
}

/** Throws a sentence when the two sides differ, or something is not finished. */
async function showPatients({ application, operator, fhir }: Services, view: LiveView): Promise<void> {
  heading(`The FHIR server's patients, as GET ${fhir.url}/Patient gives them`);
  const { patients, rows, differences } = await comparePatients(application, fhir.url);
  const header = ['resource', 'version', 'active', 'name', 'born', 'gender', 'identifiers'];
  const cells = patients.map((patient) => [
    patient.reference,
    patient.version,
    patient.active ? 'yes' : 'no',
    patient.name,
    patient.born,
    patient.gender,
    patient.identifiers.replaceAll(/[^,]*\|/g, ' ').trim(),
  ]);
  for (const line of tableLines(header, cells)) say(line);
  if (differences.length > 0) throw new Error(`The FHIR server differs from PostgreSQL:\n${differences.join('\n')}`);

  const state = await operator.query<{ rows: number; open: number; dead: number; confirmed: string | null }>(
    `SELECT count(*)::int AS rows, count(*) FILTER (WHERE NOT processed)::int AS open,
            (SELECT count(*)::int FROM fhir_dlq) AS dead,
            (SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1) AS confirmed
       FROM fhir_outbox`,
    [SLOT],
  );
  const [{ rows: events = 0, open = 0, dead = 0, confirmed = null } = {}] = state.rows;
  const acknowledged = parseLsn(confirmed ?? formatLsn(LSN_ZERO));
  if (open > 0) throw new Error(`${open} outbox rows are not delivered.`);
  if (acknowledged < view.lastCommit)
    throw new Error(
      `The slot is acknowledged to ${confirmed}, and the last commit ends at ${formatLsn(view.lastCommit)}.`,
    );
  say('');
  say(
    `✓ ${rows} patients in PostgreSQL, and the same on the FHIR server; ${patients.length - rows} inactive there, for a deleted row.`,
  );
  say(`✓ ${events} outbox rows, all processed; ${dead} of them a dead letter, moved by hand.`);
  say(`✓ The slot is acknowledged to ${confirmed}, past the last commit.`);
}

function showWhereToLook({ database, operators, fhir, connector }: Services): void {
  const psql = ({ user, password, host, port, database: name }: RunningDemo) =>
    `psql "postgresql://${user}:${password}@${host}:${port}/${name}"`;
  const metrics = `http://127.0.0.1:${connector.metricsPort}`;
  const lines = [
    ['FHIR server', `${fhir.url}/Patient, and each version: ${fhir.url}/Patient/1/_history`],
    ['Status page', `${metrics}/`],
    ['Metrics', `${metrics}/metrics, ${metrics}/readyz`],
    ['Change a row', `npm run demo:sql -- "UPDATE patient SET phone_number = '+1-555-000-0000' WHERE id = 1"`],
    ['or by psql', psql(database)],
    ['See the outbox', `${psql(operators)}, as an operator`],
    ['End', 'Ctrl-C'],
  ];
  heading('Where to look, and what to try');
  for (const line of lines) say(alignedLine(line, [14]));
  heading('What is committed from now on');
}

/** A bug is told with its stack; what can go wrong on a machine, in its own sentence. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof SuppressedError) return explain(error.suppressed);
  return error instanceof TypeError || error instanceof RangeError ? (error.stack ?? error.message) : error.message;
}
