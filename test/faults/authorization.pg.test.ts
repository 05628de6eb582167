// A FHIR server that demands access tokens: the real command with a real authorization server, whose tokens end, are revoked, or cannot be had.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AuthorizationServer, KEYS, pemOf, SECRET } from '../support/authorization-server.ts';
import { runCommand } from '../support/command.ts';
import { type ConnectorProcess, connectorEnvironment, spawnConnector } from '../support/connector.ts';
import { streaming } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { GuardedServer } from '../support/guarded-server.ts';
import { allProcessed } from '../support/outbox.ts';

const PATIENCE = { timeout: 60_000 };

let database: TestDatabase;
let sink: FhirSink;
let authorizes: AuthorizationServer;
let guarded: GuardedServer;
let connector: ConnectorProcess | null;

beforeEach(async () => {
  database = await createDatabase();
  sink = await FhirSink.start();
  connector = null;
});

afterEach(async () => {
  connector?.child.kill('SIGKILL');
  await connector?.exited;
  await guarded.stop();
  await authorizes.stop();
  await sink.stop();
  await database.drop();
});

/** `lifetime` of the tokens, in seconds. */
async function guard(lifetime: number): Promise<void> {
  authorizes = await AuthorizationServer.start({ lifetime });
  guarded = await GuardedServer.start(sink.url, authorizes);
}

const SMART = () => ({
  FHIR_AUTH: 'smart',
  FHIR_CLIENT_ID: 'signs-ES384',
  FHIR_PRIVATE_KEY: pemOf(KEYS.ES384.privateKey),
  FHIR_KEY_ID: 'key-ES384',
});

const environment = (variables: Record<string, string>) => ({
  ...connectorEnvironment(database, guarded.url),
  LOG_LEVEL: 'trace',
  ...variables,
});

async function start(variables: Record<string, string>): Promise<ConnectorProcess> {
  connector = spawnConnector(environment(variables));
  return connector;
}

const saidWhy = ({ log }: ConnectorProcess, sentence: string) =>
  expect.poll(() => log.some(({ msg, reason }) => `${msg} ${reason ?? ''}`.includes(sentence)), PATIENCE).toBe(true);

async function insert(value: string): Promise<void> {
  await database.pool.query(`INSERT INTO public.patient (identifier_system, identifier_value) VALUES ('urn:t', $1)`, [
    value,
  ]);
}

async function deadLetters(): Promise<number> {
  const { rows } = await database.pool.query<{ count: number }>('SELECT count(*)::int AS count FROM public.fhir_dlq');
  return rows[0]?.count ?? 0;
}

describe('access tokens', () => {
  it('are renewed before they end, so that no request is refused, and ask for no more than is needed', async () => {
    // Whole seconds count there, so that a token may end almost one earlier.
    await guard(6);
    const running = await start(SMART());
    await streaming(running);
    let written = 0;
    await expect
      .poll(async () => {
        written += 1;
        await insert(`P-${written}`);
        return authorizes.asked.length;
      }, PATIENCE)
      .toBeGreaterThanOrEqual(3);
    await allProcessed(database);
    expect(sink.puts).toHaveLength(written);
    expect(guarded.statuses.filter((status) => status === 401)).toEqual([]);
    expect(guarded.scopes).toEqual(new Set(['system/Patient.crus']));
    const said = `${JSON.stringify(running.log)}${running.stderr.join()}`;
    expect(said).not.toContain(guarded.lastToken.replace('Bearer ', ''));
    expect(said).not.toContain('BEGIN PRIVATE KEY');
  });

  it('that are revoked are renewed, and nobody is dead-lettered for it', async () => {
    await guard(3600);
    const running = await start(SMART());
    await streaming(running);
    await insert('before');
    await allProcessed(database);
    await authorizes.revoke(guarded.lastToken);
    for (let number = 1; number <= 20; number += 1) await insert(`after-${number}`);
    await saidWhy(running, 'The FHIR server does not let the connector in');
    await allProcessed(database);
    expect(new Set(sink.values).size).toBe(21);
    expect(authorizes.asked).toHaveLength(2);
    expect(await deadLetters()).toBe(0);
  });

  it('that cannot be had keep everything back, until they can', async () => {
    await guard(6);
    const running = await start(SMART());
    await streaming(running);
    authorizes.answerInstead((_, response) => void response.writeHead(503).end());
    let written = 0;
    await expect
      .poll(async () => {
        written += 1;
        await insert(`P-${written}`);
        return written - sink.puts.length;
      }, PATIENCE)
      .toBeGreaterThan(20);
    await saidWhy(running, 'The token endpoint gives no access token for the FHIR server');
    authorizes.answerInstead(null);
    await allProcessed(database);
    expect(new Set(sink.values).size).toBe(written);
    expect(await deadLetters()).toBe(0);
  });

  it('that are refused are told from the start, with what to do, and nothing is sent to the FHIR server', async () => {
    await guard(3600);
    const variables = { ...SMART(), FHIR_KEY_ID: 'another', FHIR_CLIENT_ID: 'signs-RS384' };
    const running = await start(variables);
    await saidWhy(running, 'The authorization server refuses an access token: check FHIR_CLIENT_ID');
    const doctor = await runCommand(environment(variables), 'doctor');
    expect(doctor.status).toBe(1);
    expect(doctor.stdout).toContain('The authorization server refuses an access token');
    expect(doctor.stdout).toContain('(invalid_client)');
    expect(guarded.statuses).toEqual([]);
  });
});

describe('a client', () => {
  it.each([
    [
      'a secret',
      () => ({
        FHIR_AUTH: 'client_credentials',
        FHIR_TOKEN_URL: authorizes.tokenUrl,
        FHIR_CLIENT_ID: 'has-a_secret.',
        FHIR_CLIENT_SECRET: SECRET,
      }),
    ],
    [
      'a private key, RS384',
      () => ({
        ...SMART(),
        FHIR_CLIENT_ID: 'signs-RS384',
        FHIR_KEY_ID: 'key-RS384',
        FHIR_PRIVATE_KEY: pemOf(KEYS.RS384.privateKey),
      }),
    ],
  ])('with %s delivers', async (_, variables) => {
    await guard(3600);
    await streaming(await start(variables()));
    await insert('P-1');
    await allProcessed(database);
    expect(sink.values).toEqual(['P-1']);
  });

  it('with a token that does not change delivers, and is held back by a refusal', async () => {
    await guard(3600);
    await streaming(await start(SMART()));
    await insert('P-1');
    await allProcessed(database);
    connector?.child.kill('SIGTERM');
    await connector?.exited;
    const running = await start({ FHIR_AUTH: 'bearer', FHIR_TOKEN: guarded.lastToken.replace('Bearer ', '') });
    await streaming(running);
    await insert('P-2');
    await allProcessed(database);
    expect(sink.values).toEqual(['P-1', 'P-2']);
    await authorizes.revoke(guarded.lastToken);
    await insert('P-3');
    await saidWhy(running, 'The FHIR server does not let the connector in');
    expect(sink.values).toEqual(['P-1', 'P-2']);
    expect(await deadLetters()).toBe(0);
  });
});
