// A connector in all the trouble of the fault table, with a FHIR server that repeats the patient in every answer: nothing of it is said.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { FAULT_TABLE, type Operation } from '../../src/fhir/faults/fault-table.ts';
import { casesOf, type FaultCase, outcomeAbout } from './echoes.ts';
import { CanaryWorld, PATIENCE } from './world.ts';

let world: CanaryWorld;

beforeEach(async () => {
  world = await CanaryWorld.open();
});
afterEach(() => world.close());

/** What brings a connector at work to ask so, of a patient of its own; resolves when the change is made. */
const LEADING_TO: Partial<Record<Operation, (one: FaultCase) => Promise<void>>> = {
  'conditional-put': async (one) => {
    const identifier = world.patients.identifier();
    planned(one, identifier);
    await world.patients.add({ identifier_value: identifier });
  },
  'put-by-id': async (one) => {
    const patient = await world.patients.add();
    await world.delivered(patient);
    planned(one, mentioned(patient.identifier));
    await world.patients.update(patient.id);
  },
  read: async (one) => {
    const patient = await world.patients.add();
    await world.delivered(patient);
    world.fhir.plan('put-by-id', mentioned(patient.identifier), (asked) => ({
      status: 409,
      body: JSON.stringify(outcomeAbout(asked, world.fhir.word)),
    }));
    planned(one, mentioned(patient.identifier));
    await world.patients.update(patient.id);
  },
  search: async (one) => {
    const identifier = world.patients.identifier();
    // It does not say where.
    world.fhir.plan('conditional-put', mentioned(identifier), () => ({ status: 200, body: '' }));
    planned(one, identifier);
    await world.patients.add({ identifier_value: identifier });
  },
  'delete-by-id': async (one) => {
    const patient = await world.patients.add();
    await world.delivered(patient);
    planned(one, mentioned(patient.identifier));
    await world.patients.delete(patient.id);
  },
  transaction: async (one) => {
    world.fhir.plan('transaction', '', (asked) => one.answer(asked, world.fhir.word));
    await world.db.query(
      `INSERT INTO patient (identifier_system, identifier_value, name_family)
       SELECT 'urn:bundled', $1 || n, $1 FROM generate_series(1, 6) AS n`,
      [world.marks.text('bundled')],
    );
  },
};

function planned({ operation, answer }: FaultCase, identifier: string): void {
  world.fhir.plan(operation, mentioned(identifier), (asked) => answer(asked, world.fhir.word));
}

/** The part of it that nothing has to escape. */
function mentioned(identifier: string): string {
  return identifier.split(' ')[0] ?? '';
}

const CASES = FAULT_TABLE.flatMap((row) => {
  // Of the statuses of a row one for each operation: test/canary/faults.test.ts has all of them.
  const cases = casesOf(row);
  return cases.filter((one, at) => cases.findIndex(({ operation }) => operation === one.operation) === at);
});
const DELETES: readonly Operation[] = ['delete-by-id', 'transaction'];
const isDelete = ({ operation }: FaultCase) => DELETES.includes(operation);
const isWrite = (one: FaultCase) => one.operation in LEADING_TO && !isDelete(one);

/** One after the other, for some stop all others for a while; each may be answered in any order. */
async function meet(cases: readonly FaultCase[], environment: Readonly<Record<string, string>>): Promise<void> {
  const connector = world.start({ MAX_RETRIES: '1', ...environment });
  await world.streaming(connector);
  for (const one of cases) await LEADING_TO[one.operation]?.(one);
  await world.settled();
  expect(world.fhir.planned).toEqual([]);
  // Scraped after the last of it.
  await vi.waitUntil(() => cases.every(isTold), PATIENCE).catch(() => undefined);
  await world.expectClean('log', '/metrics', '/status.json', 'traces', 'pg_stat_activity');
  expect(cases.filter((one) => !isTold(one)).map(({ name }) => name)).toEqual([]);
}

/** By its code, or by its sentence where it makes a dead letter. */
function isTold({ code, row }: FaultCase): boolean {
  const log = world.said('log');
  return (
    world.said('/metrics').includes(`code="${code}"`) || log.includes(`"code":"${code}"`) || log.includes(row.sentence)
  );
}

test('writes that meet each row of the fault table say nothing of a patient', { timeout: 180_000 }, async () => {
  await meet(CASES.filter(isWrite), {});
});

test('deletes and Bundles that meet each row of the fault table say nothing of a patient', {
  timeout: 180_000,
}, async () => {
  await meet(CASES.filter(isDelete), { FHIR_DELETE: 'delete', FHIR_BATCH_SIZE: '8', FHIR_CONCURRENCY: '2' });
});

test('a server that is away, and one that is none yet, is told of without a patient', async () => {
  for (const one of CASES.filter(({ operation, code }) => operation === 'metadata' && !/not-/.test(code)))
    world.fhir.plan('metadata', '', (asked) => one.answer(asked, world.fhir.word));
  const connector = world.start();
  await world.streaming(connector);
  expect(world.fhir.planned).toEqual([]);
  await world.fhir.pause();
  const patient = await world.patients.add();
  await vi.waitUntil(() => connector.log.some(({ code }) => code === 'unreachable'), PATIENCE);
  for (const one of CASES.filter(({ operation }) => operation === 'probe').slice(0, 3))
    world.fhir.plan('probe', '', (asked) => one.answer(asked, world.fhir.word));
  await world.fhir.resume();
  await world.delivered(patient);
  await world.expectClean('log', '/metrics', '/', '/status.json', '/readyz');
});

test('ids and versions that are made of what identifies a patient are not told', async () => {
  const word = world.marks.word('mrn');
  world.fhir.ledger.write(`mrn-${word}`, {
    resourceType: 'Patient',
    identifier: [{ system: 'urn:mrn', value: word }],
  });
  const connector = world.start();
  await world.streaming(connector);
  const patient = await world.patients.add({ identifier_system: 'urn:mrn', identifier_value: word });
  expect(await world.delivered(patient)).toBe(`mrn-${word}`);
  world.fhir.plan('put-by-id', word, ({ url }) => ({
    status: 200,
    headers: { location: `${url}/_history/v-${word}`, etag: `W/"v-${word}"` },
  }));
  await world.patients.update(patient.id);
  await world.delivered(patient);
  const { rows } = await world.db.query<{ txid: string }>('SELECT DISTINCT txid::text FROM fhir_outbox');
  for (const { txid } of rows) {
    await world.command('trace', txid);
    await world.command('trace', txid, '--json');
  }
  await world.command('status');
  await world.command('status', '--json');
  await world.command('verify');
  await world.expectClean('log', 'traces', 'trace', 'trace --json', 'status', 'status --json', 'verify');
  expect(world.said('log')).toContain('"fhirId":"(withheld)","version":"(withheld)"');
  expect(world.said('trace --json')).toContain('"fhirId": "(withheld)"');
});

test('an authorization server that repeats what it is told is told of without a patient, and without the secret', async () => {
  const { word } = world.fhir;
  const answers = [
    [503, word],
    [400, JSON.stringify({ error: word, error_description: word, error_uri: `https://${word}/` })],
    [200, JSON.stringify({ access_token: `${word}\n`, token_type: 'bearer' })],
    [200, JSON.stringify({ access_token: word, token_type: word })],
  ] as const;
  let asked = 0;
  const authorizes = createServer((_, response) => {
    const [status, body] = answers[asked] ?? [200, JSON.stringify({ access_token: word, token_type: 'bearer' })];
    asked += 1;
    response.writeHead(status, { 'content-type': 'application/json', 'www-authenticate': `Basic realm="${word}"` });
    response.end(body);
  });
  await new Promise<void>((resolve) => authorizes.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void authorizes.close().closeAllConnections());
  const connector = world.start({
    FHIR_AUTH: 'client_credentials',
    FHIR_TOKEN_URL: `http://127.0.0.1:${(authorizes.address() as AddressInfo).port}/token`,
    FHIR_CLIENT_ID: 'connector',
    FHIR_CLIENT_SECRET: word,
  });
  await world.delivered(await world.patients.add());
  await world.streaming(connector);
  expect(asked).toBe(answers.length + 1);
  await world.expectClean('log', '/metrics', '/status.json');
  for (const code of ['token', 'token-refused']) expect(world.said('log')).toContain(`"code":"${code}"`);
});
