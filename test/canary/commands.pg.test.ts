// What the commands print, when they do their work and when PostgreSQL or the FHIR server fails them with a patient in its words.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { withoutTriggers } from '../support/operator.ts';
import { outcomeAbout } from './echoes.ts';
import { QuotingDatabase } from './quoting.ts';
import { CanaryWorld } from './world.ts';

let world: CanaryWorld;
let quoting: QuotingDatabase;

beforeEach(async () => {
  world = await CanaryWorld.open();
  quoting = await QuotingDatabase.prepare(world.db, world.marks.text('row'));
});
afterEach(() => world.close());

/** Dead letters with the server's words about the patient in them, of a connector at work. */
async function deadLetters(count: number): Promise<number[]> {
  const { rows: before } = await world.db.query<{ id: number }>('SELECT coalesce(max(id), 0)::int AS id FROM fhir_dlq');
  for (let made = 0; made < count; made += 1) {
    const identifier = world.patients.identifier();
    world.fhir.plan('conditional-put', identifier.split(' ')[0] ?? '', (asked) => ({
      status: 422,
      body: JSON.stringify(outcomeAbout(asked, world.fhir.word)),
    }));
    // Another change of it would be delivered, and settle the dead letter.
    await world.patients.add({ identifier_value: identifier }, 0);
  }
  await world.settled();
  const { rows } = await world.db.query<{ id: number }>('SELECT id::int FROM fhir_dlq WHERE id > $1 ORDER BY id', [
    before[0]?.id,
  ]);
  return rows.map(({ id }) => id);
}

/** In text and as JSON. */
async function both(...args: string[]): Promise<(number | null)[]> {
  return [(await world.command(...args)).status, (await world.command(...args, '--json')).status];
}

describe('the commands', () => {
  test('say nothing of a patient', { timeout: 180_000 }, async () => {
    const connector = world.start();
    await world.streaming(connector);
    const patient = await world.patients.add();
    await world.patients.examine(patient.id);
    const [first = 0, second = 0, third = 0, fourth = 0] = await deadLetters(4);
    expect(await both('dlq', 'list')).toEqual([0, 0]);
    await world.command('dlq', 'list', '--state', 'all');
    expect(await both('dlq', 'show', String(first))).toEqual([0, 0]);
    expect(world.said('dlq show')).toContain('error invalid HAPI-0450 at Patient.birthDate');
    // They are where they belong, and the search finds them.
    const { rows } = await world.db.query(
      'SELECT payload_json::text AS payload, operation_outcome::text AS outcome FROM fhir_dlq',
    );
    for (const { payload, outcome } of rows)
      expect([payload, outcome].map((text) => world.marks.leaksIn(text).length > 0)).toEqual([true, true]);
    // Of a connector of long ago, which wrote the server's words into the error.
    await world.db.query(
      `INSERT INTO fhir_dlq (id, table_name, record_id, operation, payload_json, error_text)
       SELECT 901, table_name, record_id, operation, payload_json, $1 FROM fhir_dlq WHERE id = $2`,
      [`PUT ?identifier=${world.marks.text('error')} failed`, first],
    );
    expect(await both('dlq', 'list')).toEqual([0, 0]);
    expect(await both('dlq', 'show', '901')).toEqual([0, 0]);
    expect(world.said('dlq show')).toContain('written by an earlier connector');
    await world.command('dlq', 'discard', '901', '--reason', 'of long ago', '--yes', '--json');

    await world.command('dlq', 'replay', String(first), '--reason', 'mended');
    await world.command('dlq', 'replay', String(second), '--json');
    await world.command('dlq', 'discard', String(third), '--reason', 'registered twice', '--yes');
    await world.command('dlq', 'discard', String(fourth), '--reason', 'registered twice', '--yes', '--json');
    await world.settled();
    expect(await both('dlq', 'show', String(first))).toEqual([0, 0]);
    expect(world.said('dlq show')).toContain('delivered as Patient/');
    const { rows: txids } = await world.db.query<{ txid: string }>('SELECT DISTINCT txid::text FROM fhir_outbox');
    for (const { txid } of txids.slice(0, 4)) await both('trace', txid);
    expect(await both('status')).not.toContain(null);
    await world.doctor();
    await world.doctor('--json');

    await withoutTriggers(
      world.target,
      `UPDATE patient SET name_family = ${literal(world.marks.text('drift'))} WHERE id = ${patient.id}`,
    );
    const [fhirId = '', body = {}] = [...world.fhir.ledger.resources][0] ?? [];
    world.fhir.ledger.write(fhirId, { ...body, [world.fhir.word]: world.fhir.word });
    // Somebody else's, with an id made of the patient's number; and one that is no id at all.
    world.fhir.ledger.write(patient.identifier.split(' ')[0] ?? '', { ...body, active: true });
    world.fhir.ledger.write(`<${world.fhir.word}>`, { ...body, active: true });
    expect(await both('verify')).toEqual([1, 1]);
    expect(world.said('verify')).toContain('name.family');
    expect(world.said('verify')).toContain('Patient/(withheld)');
    await world.command('verify', '--sample', '2', '--seed', '3');
    await world.command('verify', '--repair');
    await world.command('verify', '--repair', '--json');
    await world.command('backfill');
    await world.command('backfill', '--all', '--restart');
    await world.migrate();
    await world.settled();
    await world.expectClean('log', ...NAMES, 'pg_stat_activity', 'migrate');
  });

  test('that PostgreSQL fails, with a row in its words, say nothing of a patient', { timeout: 180_000 }, async () => {
    const connector = world.start();
    await world.streaming(connector);
    const [first = 0, second = 0] = await deadLetters(2);
    const { rows } = await world.db.query<{ txid: string }>('SELECT txid::text FROM fhir_outbox LIMIT 1');
    const reads = ['fhir_dlq', 'fhir_outbox', 'fhir_backfill'];
    for (const table of reads) await quoting.onRead(table, 'P0001');
    for (const args of [['dlq', 'list'], ['dlq', 'show', String(first)], ['trace', rows[0]?.txid ?? ''], ['status']])
      expect(await both(...args)).toEqual([1, 1]);
    await world.doctor();
    for (const table of reads) await quoting.stopOnRead(table);

    const writes = ['fhir_dlq', 'fhir_backfill', 'fhir_verification', 'fhir_patient_revision'];
    for (const table of writes) await quoting.onWrite(table, '23514');
    expect(await both('dlq', 'replay', String(first))).toEqual([1, 1]);
    expect(await both('dlq', 'discard', String(second), '--reason', 'x', '--yes')).toEqual([1, 1]);
    expect((await world.command('backfill', '--all', '--restart')).status).toBe(1);
    expect(await both('verify')).toEqual([2, 2]);
    expect(await both('verify', '--repair')).toEqual([2, 2]);
    for (const table of writes) await quoting.stopOnWrite(table);

    await world.db.query("DELETE FROM fhir_schema_migration WHERE version > '016'");
    await quoting.onMigration();
    expect(await world.migrate()).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/could not be applied.*SQLSTATE 23514/),
    });
    await quoting.stopOnMigration();
    // Said by the server, and read only.
    await quoting.onWrite('fhir_schema_migration', '22012');
    expect((await world.migrate()).status).toBe(1);
    await quoting.stopOnWrite('fhir_schema_migration');
    await world.db.query(`CREATE FUNCTION public.canary_align() RETURNS text[] LANGUAGE sql AS $$ SELECT ARRAY[public.canary_raise('P0001', ${literal(world.marks.text('align'))})::text] $$;
      ALTER FUNCTION public.fhir_align_sequences() RENAME TO canary_kept; ALTER FUNCTION public.canary_align() RENAME TO fhir_align_sequences`);
    expect((await world.migrate()).status).toBe(1);
    await world.db.query(
      'DROP FUNCTION public.fhir_align_sequences(); ALTER FUNCTION public.canary_kept() RENAME TO fhir_align_sequences',
    );
    expect((await world.migrate()).status).toBe(0);
    await world.expectClean(
      'log',
      'dlq list',
      'dlq show',
      'trace',
      'status',
      'verify',
      'backfill --all --restart',
      'migrate',
      'doctor',
    );
    expect(world.said('migrate')).toContain('PostgreSQL says: SQLSTATE 01000');
  });

  test('that the FHIR server fails say nothing of a patient', { timeout: 180_000 }, async () => {
    const before = world.start();
    await world.streaming(before);
    await world.delivered(await world.patients.add());
    before.child.kill('SIGTERM');
    await before.exited;
    const page = { status: 200, headers: { 'content-type': 'text/html' }, body: `<html>${world.fhir.word}` };
    const refusal = (status: number) => (asked: Parameters<typeof outcomeAbout>[0]) => ({
      status,
      headers: { location: world.fhir.word, 'www-authenticate': world.fhir.word },
      body: JSON.stringify(outcomeAbout(asked, world.fhir.word)),
    });
    for (const status of [401, 302, 503]) {
      world.fhir.plan('metadata', '', refusal(status));
      await world.doctor();
      world.fhir.plan('metadata', '', refusal(status));
      await world.command('status');
      world.fhir.plan('probe', '', refusal(status));
      await world.doctor('--json');
    }
    world.fhir.plan('metadata', '', () => page);
    await world.doctor();
    world.fhir.plan('metadata', '', () => page);
    const connector = world.start();
    expect(await connector.exited).toBe(1);
    for (const operation of ['probe', 'search', 'read'] as const) {
      world.fhir.plan(operation, '', refusal(403));
      await world.command('verify');
    }
    expect(world.fhir.planned).toEqual([]);
    await world.expectClean('log', 'stderr', 'doctor', 'doctor --json', 'status', 'verify');
  });
});

const NAMES = [
  ...['dlq list', 'dlq list --json', 'dlq list --state all', 'dlq show', 'dlq show --json', 'trace', 'trace --json'],
  ...['status', 'status --json', 'doctor', 'doctor --json', 'verify', 'verify --json', 'verify --repair'],
  ...['verify --repair --json', 'backfill', 'backfill --all --restart'],
];

function literal(text: string): string {
  return `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
}
