// What the FHIR client says of each row of the fault table, for each operation that it is about: a sentence and a code, whatever the
// server repeats. (test/canary/faults.pg.test.ts has the connector in the same trouble.)

import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../../demo/ports.ts';
import { AccessTokens } from '../../src/fhir/authorization/access-tokens.ts';
import type { Credentials } from '../../src/fhir/authorization/credentials.ts';
import { TokenClient } from '../../src/fhir/authorization/token-client.ts';
import { createFhirClient } from '../../src/fhir/client/create-client.ts';
import type { FhirClient } from '../../src/fhir/client/fhir-client.ts';
import type { Fault } from '../../src/fhir/faults/fault.ts';
import type { Operation } from '../../src/fhir/faults/fault-table.ts';
import { FAULT_TABLE } from '../../src/fhir/faults/fault-table.ts';
import type { Patient } from '../../src/fhir/model/resource-types.ts';
import { casesOf, type FaultCase, isSetUpElsewhere } from './echoes.ts';
import { EchoingServer } from './echoing-server.ts';
import { Marks } from './marks.ts';

const marks = new Marks();
const CASES = FAULT_TABLE.flatMap(casesOf);
const FIRST_ID = 'r1';

let server: EchoingServer;
let outcomes: string[];
let client: FhirClient;

beforeEach(async () => {
  server = await EchoingServer.start(marks.word('server'));
  outcomes = [];
  client = clientOf(server.url);
});
afterEach(async () => {
  await client.close();
  await server.stop();
});

function clientOf(baseUrl: string, credentials?: Credentials): FhirClient {
  const config = { baseUrl, concurrency: 1, batchSize: 2, timeoutMs: 500, userAgent: 'canary' };
  return createFhirClient({ ...config, ...(credentials && { credentials }) }, ({ outcome }) => outcomes.push(outcome));
}

/** Of a client whose authorization server, or its SMART configuration where it has no token URL, answers so. */
async function tokensFrom(tokenUrl: string | null, status: number, body: string): Promise<void> {
  const authorizes = createHttpServer((_, response) => {
    response.writeHead(status, {
      'content-type': 'application/json',
      'www-authenticate': `Basic realm="${server.word}"`,
    });
    response.end(body);
  });
  await new Promise<void>((resolve) => authorizes.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    authorizes.closeAllConnections();
    await new Promise((resolve) => authorizes.close(resolve));
  });
  const origin = `http://127.0.0.1:${(authorizes.address() as AddressInfo).port}`;
  const source = new TokenClient({
    clientId: 'canary',
    authentication: { secret: server.word },
    tokenUrl: tokenUrl === null ? null : origin + tokenUrl,
    fhirServer: origin,
    scope: null,
    access: { types: ['Patient'], writes: true, deletes: false },
    tls: () => ({}),
    allowHttp: false,
    timeoutMs: 500,
  });
  client = clientOf(server.url, new AccessTokens(source));
}

function patient(): { resource: Patient; token: { system: string; value: string } } {
  const token = { system: `urn:${marks.word('system')}`, value: marks.text('mrn') };
  const name = [{ family: marks.text('family') }];
  const resource: Patient = {
    resourceType: 'Patient',
    identifier: [token],
    name,
    gender: 'unknown',
    birthDate: marks.birthDate(),
  };
  return { resource, token };
}

/** What the caller is given. */
type Given = { readonly ok: boolean; readonly fault?: Fault };
const ASKING: Readonly<Record<Operation, () => Promise<Given>>> = {
  'conditional-put': () => put(),
  'put-by-id': () => client.putById(patient().resource, FIRST_ID, null, 'Patient/1/1'),
  transaction: async () => (await Promise.all([put(), put()]))[0] ?? { ok: true },
  'delete-by-id': () => client.deleteById('Patient', FIRST_ID, 'Patient/1/1'),
  search: () => {
    // It does not say where.
    server.plan('conditional-put', '', () => ({ status: 200, body: '' }));
    return put();
  },
  read: () => client.read('Patient', FIRST_ID),
  probe: async () => {
    const fault = await client.probe();
    return fault ? { ok: false, fault } : { ok: true };
  },
  metadata: () => client.capabilities(),
};

function put(): Promise<Given> {
  const { resource, token } = patient();
  return client.putByIdentifier(resource, token, 'Patient/1/1');
}

function expectClean(given: Given): void {
  // The outcome is kept with the dead letter, and nowhere else.
  const said = JSON.stringify({ ...given, fault: given.fault && { ...given.fault, outcome: null } });
  expect(marks.leaksIn(said + outcomes.join())).toEqual([]);
}

test.each(CASES)('$name says nothing of a patient', async ({ operation, code, answer }: FaultCase) => {
  const { resource } = patient();
  server.ledger.write(FIRST_ID, { ...resource });
  server.plan(operation, '', (asked) => answer(asked, server.word));
  const given = await ASKING[operation]();
  expect(server.planned).toEqual([]);
  // A success may turn out to be none when it is read.
  expect([...outcomes, given.fault?.code]).toContain(code);
  expectClean(given);
  if (given.fault?.code === 'validation') expect(marks.leaksIn(JSON.stringify(given.fault.outcome))).not.toEqual([]);
});

/** The causes that are no answer. */
const ELSEWHERE: Readonly<Record<string, () => Promise<void>>> = {
  tls: async () => {
    client = clientOf(server.url.replace('http:', 'https:'));
  },
  unreachable: async () => {
    client = clientOf(`http://127.0.0.1:${await freePort()}/fhir`);
  },
  token: () => tokensFrom('/token', 500, server.word),
  'token-refused': () =>
    tokensFrom('/token', 401, JSON.stringify({ error: server.word, error_description: server.word })),
  'no-token-endpoint': () => tokensFrom(null, 200, JSON.stringify({ token_endpoint: server.word })),
};

test.each(FAULT_TABLE.filter(isSetUpElsewhere))('$code says nothing of a patient', async ({ code }) => {
  await client.close();
  await ELSEWHERE[code]?.();
  const given = await put();
  expect(outcomes).toEqual([code]);
  expectClean(given);
});

test('there is a case for each row of the table', () => {
  const covered = new Set(CASES.map(({ row }) => row));
  expect(FAULT_TABLE.filter((row) => !covered.has(row) && !(isSetUpElsewhere(row) && row.code in ELSEWHERE))).toEqual(
    [],
  );
});
