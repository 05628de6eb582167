// FHIR_UPDATE both ways on one server: `FHIR_TEST_URL=http://127.0.0.1:8080/fhir node bench/update.ts`.
//
// A PUT by id with If-Match against a PUT by identifier, through the connector's own client. Both write the same
// patients, each once a round, and each write changes the patient: HAPI does nothing for one that does not. The rounds
// alternate, by id first and by identifier first in turn, so that whatever else the machine does meets both; what counts
// is the ratio within each pair of rounds.
// It makes patients and removes none, and is load: only a server on this machine is asked.
import { randomUUID } from 'node:crypto';
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { createFhirClient, type FhirClient } from '../src/fhir/client.ts';
import type { Patient } from '../src/fhir/resources.ts';
import type { Token } from '../src/fhir/token.ts';
import { median, percentile } from './statistics.ts';

const WIDTHS = [8, 32];
/** Few, so that the two rounds of a pair are close in time. */
const PATIENTS = 128;
/** HAPI's code is compiled while it runs: the first rounds are slower, whatever they do. */
const WARM_UP_PAIRS = 8;

interface Known {
  readonly identifier: Token;
  id: string;
  versionId: string | null;
}

type Mode = 'by-id' | 'conditional';

const { values } = parseArgs({ options: { pairs: { type: 'string', default: '24' } } });
const pairs = Number(values.pairs);
if (!Number.isInteger(pairs) || pairs < 1) refuse('--pairs must be a whole number, 1 at least.');
const url = process.env.FHIR_TEST_URL ?? '';
if (!isLoopback(url))
  refuse('FHIR_TEST_URL must be the base URL of a FHIR server on this machine, such as http://127.0.0.1:8080/fhir.');

let writes = 0;
for (const width of WIDTHS) {
  const client = createFhirClient(
    { baseUrl: url, concurrency: width, timeoutMs: 30_000, userAgent: 'fhir-connector/bench' },
    () => undefined,
  );
  const answer = await client.capabilities();
  if (!answer.ok) refuse(`FHIR_TEST_URL: ${answer.fault.reason}`);
  console.log(`${answer.capabilities.software}, ${width} at once, ${PATIENTS} patients, load ${load()}`);
  await measure(client, width);
  await client.close();
}

async function measure(client: FhirClient, width: number): Promise<void> {
  const patients = Array.from({ length: PATIENTS }, (): Known => {
    return { identifier: { system: 'urn:bench', value: randomUUID() }, id: '', versionId: null };
  });
  await round(client, 'conditional', patients, width);
  const ratios: number[] = [];
  for (let pair = -WARM_UP_PAIRS; pair < pairs; pair += 1) {
    const order: Mode[] = pair % 2 === 0 ? ['by-id', 'conditional'] : ['conditional', 'by-id'];
    const rates: Partial<Record<Mode, number>> = {};
    for (const mode of order) rates[mode] = await round(client, mode, patients, width);
    const { 'by-id': byId = Number.NaN, conditional = Number.NaN } = rates;
    const ratio = byId / conditional;
    if (pair >= 0) ratios.push(ratio);
    const which = pair < 0 ? 'warm-up' : `pair ${pair + 1}`;
    const figures = [
      `by-id ${byId.toFixed(0)}/s`,
      `conditional ${conditional.toFixed(0)}/s`,
      `ratio ${ratio.toFixed(2)}`,
    ];
    console.log(`  ${which.padEnd(8)} ${figures.join(', ')}`);
  }
  const middle = median(ratios);
  const spread = [0, 25, 75, 100].map((percent) => percentile(ratios, percent).toFixed(2));
  console.log(`By id / by identifier at ${width}: median ${middle.toFixed(2)}`);
  console.log(`  half of the pairs ${spread[1]} to ${spread[2]}, all ${spread[0]} to ${spread[3]}; load now ${load()}`);
  console.log(
    middle >= 1
      ? 'FHIR_UPDATE=by-id follows as the default: it is not slower, and it alone is fenced by If-Match.\n'
      : 'FHIR_UPDATE=conditional is faster here; only by-id is fenced by If-Match, so weigh the two.\n',
  );
}

/** Writes each patient once, `width` at a time. Returns how many a second. */
async function round(client: FhirClient, mode: Mode, patients: readonly Known[], width: number): Promise<number> {
  const startedAt = performance.now();
  const next = patients.values();
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (const patient of next) await write(client, mode, patient);
    }),
  );
  return patients.length / ((performance.now() - startedAt) / 1000);
}

async function write(client: FhirClient, mode: Mode, patient: Known): Promise<void> {
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
  const requestId = randomUUID().slice(0, 16);
  const answer =
    mode === 'by-id'
      ? await client.putById(resource, patient.id, patient.versionId, requestId)
      : await client.putByIdentifier(resource, patient.identifier, requestId);
  if (!answer.ok) refuse(`A write failed: ${answer.fault.reason}`);
  if (answer.versionId === null) refuse('The server names no versions, so there is no If-Match to measure.');
  patient.id = answer.id;
  patient.versionId = answer.versionId;
}

function isLoopback(text: string): boolean {
  const hostname = URL.parse(text)?.hostname ?? '';
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

function load(): string {
  return loadavg()[0]?.toFixed(1) ?? '';
}

function refuse(sentence: string): never {
  console.error(sentence);
  process.exit(2);
}
