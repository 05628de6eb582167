// Ways of updating on one server: `FHIR_TEST_URL=http://127.0.0.1:8080/fhir node bench/update.ts`.
//
// A PUT by id with If-Match against a PUT by identifier, each in a request of its own, and against PUTs by id in Bundles,
// through the connector's own clients. All write the same patients, each once a round, and each write changes the patient:
// HAPI does nothing for one that does not. The rounds alternate, in an order that turns, so that whatever else the machine
// does meets all ways; what counts are the ratios within each set of rounds.
// It makes patients and removes none, and is load: only a server on this machine is asked.
import { randomUUID } from 'node:crypto';
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { createFhirClient } from '../src/fhir/client/create-client.ts';
import type { FhirClient } from '../src/fhir/client/fhir-client.ts';
import type { Patient } from '../src/fhir/model/resource-types.ts';
import type { Token } from '../src/fhir/model/token.ts';
import { isLoopback } from '../src/loopback.ts';
import { refuse, wholeNumber } from './options.ts';
import { median, percentile } from './statistics.ts';

/** Few, so that the rounds of a set are close in time. */
const PATIENTS = 768;
/** HAPI's code is compiled while it runs: the first rounds are slower, whatever they do. */
const WARM_UP_SETS = 6;
const MODES = ['conditional', 'by-id', 'bundles'] as const;
type Mode = (typeof MODES)[number];
/** As docs/decisions.md has them: how many times as fast Bundles must be. */
const TARGETS = { conditional: 2, 'by-id': 1.3 } as const;

interface Known {
  readonly identifier: Token;
  id: string;
  versionId: string | null;
}

const { values } = parseArgs({
  options: {
    sets: { type: 'string', default: '16' },
    width: { type: 'string', default: '32' },
    requests: { type: 'string', default: '8' },
    batch: { type: 'string', default: '32' },
  },
});
const sets = wholeNumber('sets', values.sets);
/** Of single PUTs, at once. */
const width = wholeNumber('width', values.width);
/** Of Bundles, at once, and patients in each. */
const requests = wholeNumber('requests', values.requests);
const batch = wholeNumber('batch', values.batch);
const url = process.env.FHIR_TEST_URL ?? '';
if (!isLoopback(URL.parse(url)?.hostname ?? ''))
  refuse('FHIR_TEST_URL must be the base URL of a FHIR server on this machine, such as http://127.0.0.1:8080/fhir.');

let writes = 0;
let bundled = 0;
const single = createFhirClient({ ...clientConfig(), concurrency: width }, () => undefined);
const bundling = createFhirClient({ ...clientConfig(), concurrency: requests, batchSize: batch }, ({ puts = 0 }) => {
  bundled += puts;
});
const answer = await single.capabilities();
if (!answer.ok) refuse(`FHIR_TEST_URL: ${answer.fault.reason}`);
console.log(
  `${answer.capabilities.software}, ${PATIENTS} patients, load ${load()}: single PUTs ${width} at once, Bundles of ${batch} ${requests} at once`,
);
await measure();
await Promise.all([single.close(), bundling.close()]);

async function measure(): Promise<void> {
  const patients = Array.from({ length: PATIENTS }, (): Known => {
    return { identifier: { system: 'urn:bench', value: randomUUID() }, id: '', versionId: null };
  });
  await round('conditional', patients);
  const rates: Record<Mode, number>[] = [];
  for (let set = -WARM_UP_SETS; set < sets; set += 1) {
    const first = (set + WARM_UP_SETS) % MODES.length;
    const rate = { conditional: 0, 'by-id': 0, bundles: 0 };
    for (const mode of [...MODES.slice(first), ...MODES.slice(0, first)]) rate[mode] = await round(mode, patients);
    if (set >= 0) rates.push(rate);
    const figures = MODES.map((mode) => `${mode} ${rate[mode].toFixed(0)}/s`).join(', ');
    console.log(`  ${(set < 0 ? 'warm-up' : `set ${set + 1}`).padEnd(8)} ${figures}`);
  }
  if (bundled === 0) refuse('Nothing went in a Bundle: the server takes none.');
  console.log(
    `Median: ${MODES.map((mode) => `${mode} ${median(rates.map((rate) => rate[mode])).toFixed(0)}/s`).join(', ')}`,
  );
  tell('By id / by identifier', ratios(rates, 'by-id', 'conditional'), 1);
  tell('Bundles / by identifier', ratios(rates, 'bundles', 'conditional'), TARGETS.conditional);
  tell('Bundles / by id', ratios(rates, 'bundles', 'by-id'), TARGETS['by-id']);
  console.log(`Load now ${load()}`);
}

function ratios(rates: readonly Record<Mode, number>[], of: Mode, to: Mode): number[] {
  return rates.map((rate) => rate[of] / rate[to]);
}

function tell(what: string, all: readonly number[], target: number): void {
  const middle = median(all);
  const [least, low, high, most] = [0, 25, 75, 100].map((percent) => percentile(all, percent).toFixed(2));
  const verdict = middle >= target ? '✓' : '✗';
  console.log(
    `${verdict} ${what}: median ${middle.toFixed(2)}, at least ${target} wanted; half of the sets ${low} to ${high}, all ${least} to ${most}`,
  );
}

/** Writes each patient once, as many at a time as the mode has at once. Returns how many a second. */
async function round(mode: Mode, patients: readonly Known[]): Promise<number> {
  const startedAt = performance.now();
  const next = patients.values();
  const atOnce = mode === 'bundles' ? requests * batch : width;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const patient of next) await write(mode, patient);
    }),
  );
  return patients.length / ((performance.now() - startedAt) / 1000);
}

async function write(mode: Mode, patient: Known): Promise<void> {
  writes += 1;
  const resource: Patient = {
    resourceType: 'Patient',
    identifier: [patient.identifier],
    active: true,
    name: [{ text: 'Jane Doe', family: 'Doe', given: ['Jane'] }],
    telecom: [{ system: 'phone', value: `+1-555-${writes}` }],
    gender: 'female',
    birthDate: '1990-01-15',
    address: [{ line: ['1 Main Street'], city: 'Boston', state: 'MA', postalCode: '02101', country: 'USA' }],
  };
  const eventKey = randomUUID();
  const client: FhirClient = mode === 'bundles' ? bundling : single;
  const written =
    mode === 'conditional'
      ? await client.putByIdentifier(resource, patient.identifier, eventKey)
      : await client.putById(resource, patient.id, patient.versionId, eventKey);
  if (!written.ok) refuse(`A write failed: ${written.fault.reason}`);
  if (written.versionId === null) refuse('The server names no versions, so there is no If-Match to measure.');
  patient.id = written.id;
  patient.versionId = written.versionId;
}

function clientConfig() {
  return { baseUrl: url, timeoutMs: 30_000, userAgent: 'fhir-connector/bench' };
}

function load(): string {
  return loadavg()[0]?.toFixed(1) ?? '';
}
