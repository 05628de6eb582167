// No patient's data in anything that is said of deliveries that go well, or are refused by the connector itself.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CanaryWorld, PATIENCE } from './world.ts';

let world: CanaryWorld;

beforeEach(async () => {
  world = await CanaryWorld.open();
});
afterEach(() => world.close());

const ALL = [
  'log',
  '/',
  '/status.json',
  '/metrics',
  '/healthz',
  '/readyz',
  'traces',
  'pg_stat_activity',
  'command line',
];

/** The URLs of the requests that hold a mark, and how many there were in all. */
function marked(): { urls: string[]; of: number } {
  const { asked } = world.fhir;
  return { urls: asked.map(({ url }) => url).filter((url) => world.marks.leaksIn(url).length > 0), of: asked.length };
}

/** Everything that the application may do to a patient. */
async function everything(): Promise<void> {
  const { patients, marks } = world;
  const patient = await patients.add();
  await world.delivered(patient);
  await patients.examine(patient.id);
  await patients.update(patient.id);
  await patients.update(patient.id, { birth_date: marks.birthDate(), phone_number: marks.phone() });
  await patients.update(patient.id, { identifier_value: patients.identifier() });
  await world.delivered(patient);
  const gone = await patients.add();
  await patients.examine(gone.id);
  await world.delivered(gone);
  await patients.delete(gone.id);
  await world.delivered(gone);
  const again = await patients.add({ identifier_system: gone.system, identifier_value: gone.identifier });
  await world.delivered(again);
  // Read from the table, and not from the stream.
  await world.db.query('SELECT fhir_emit($1, $2)', ['patient', [patient.id, again.id]]);
  await world.settled();
}

describe('deliveries', () => {
  test('that go well say nothing of a patient, and put an identifier in the URL of the first contact only', async () => {
    const connector = world.start();
    await world.streaming(connector);
    await everything();
    // Somebody else writes as well.
    const patient = await world.patients.add();
    const fhirId = await world.delivered(patient);
    world.fhir.ledger.write(fhirId, { ...world.fhir.ledger.resources.get(fhirId), language: 'de' });
    await world.patients.update(patient.id);
    await world.delivered(patient);
    await vi.waitUntil(() => world.collector.text.includes('fhir_connector.outcome'), PATIENCE);
    await world.expectClean(...ALL);

    expect(connector.log.filter(({ msg }) => msg === 'delivered').length).toBeGreaterThan(10);
    expect(connector.log.map(({ msg }) => msg).join()).toContain('Somebody else changed the resource');
    const { urls, of } = marked();
    expect(of).toBeGreaterThan(15);
    // One for each of the four patients, and all else by the ids that the server gave.
    expect(urls.every((url) => url.startsWith('/fhir/Patient?identifier='))).toBe(true);
    expect(urls.length).toBe(4);
    // The search would find them: they are where they belong.
    const { rows } = await world.db.query("SELECT string_agg(payload_json::text, ' ') AS payloads FROM fhir_outbox");
    const kinds = ['a text', 'a reading', 'a phone number', 'a birth date'];
    expect(world.marks.leaksIn(rows[0].payloads).map(({ what }) => what)).toEqual(expect.arrayContaining(kinds));
    const stored = JSON.stringify([...world.fhir.ledger.resources.values()]);
    expect(world.marks.leaksIn(stored).map(({ what }) => what)).toEqual(expect.arrayContaining(kinds));
  });

  test.each([
    ['in Bundles', { FHIR_BATCH_SIZE: '8', FHIR_CONCURRENCY: '2', FHIR_DELETE: 'delete' }],
    ['by identifier', { FHIR_UPDATE: 'conditional', FHIR_PROFILE: 'r4' }],
  ])('%s say nothing of a patient', async (_, environment) => {
    const connector = world.start(environment);
    await world.streaming(connector);
    await everything();
    await Promise.all(Array.from({ length: 10 }, () => world.patients.add()));
    await world.settled();
    await world.expectClean(...ALL);
    if ('FHIR_BATCH_SIZE' in environment) expect(world.fhir.ledger.bundles).toBeGreaterThan(0);
    // What stays in a server's access log in this mode, and docs/patient-data.md says so.
    else expect(marked().urls.length).toBeGreaterThan(3);
  });

  test('of a transaction too large for memory say nothing of a patient', async () => {
    const connector = world.start();
    await world.streaming(connector);
    const text = world.marks.text('spilled').repeat(200);
    await world.db.query(
      `INSERT INTO patient (identifier_system, identifier_value, name_family, address_line)
       SELECT 'urn:spilled', $1 || n, $2, $2 FROM generate_series(1, 1500) AS n`,
      [world.marks.word('mrn'), text],
    );
    await world.settled();
    await world.expectClean('log', '/metrics', 'traces');
  });

  test('that the connector refuses say nothing of a patient but the name of a column', async () => {
    const connector = world.start();
    await world.streaming(connector);
    const { patients, marks, fhir } = world;
    const known = await patients.add();
    const fhirId = await world.delivered(known);
    const refused = await Promise.all([
      patients.add({ identifier_value: `${marks.word('mrn')}\u0007` }),
      patients.add({ identifier_system: `urn: ${marks.word('system')}` }),
      patients.add({ identifier_value: ' ' }),
      patients.add({ birth_date: '1702-03-15 BC' }),
      patients.add({ name_text: marks.text('long').repeat(60_000) }),
    ]);
    // Its primary identifier is the other one of somebody who lives.
    refused.push(await patients.add({ identifier_system: known.system, identifier_value: `${known.identifier} ` }));
    // Somebody put the identifier of a patient on the resource of another one.
    const robbed = await patients.add({}, 0);
    await world.delivered(robbed);
    const third = { system: `urn:${marks.word('system')}`, value: patients.identifier() };
    fhir.ledger.write(fhirId, { ...fhir.ledger.resources.get(fhirId), identifier: [third] });
    refused.push(await patients.add({ identifier_system: third.system, identifier_value: third.value }));
    // A form of a patient who is not there.
    await patients.examine(refused[0]?.id ?? 0);
    await world.db.query('UPDATE form SET encounter_date = $1 WHERE patient_id = $2', ['infinity', refused[1]?.id]);
    await world.settled();
    await vi.waitUntil(
      () => connector.log.filter(({ msg }) => msg === 'dead-lettered').length > refused.length,
      PATIENCE,
    );
    await world.expectClean(...ALL);
    const reasons = connector.log.flatMap(({ reason }) => (typeof reason === 'string' ? [reason] : [])).join();
    for (const known of ['birth_date', 'identifier_value is empty', 'control characters', 'white space', 'name_text'])
      expect(reasons).toContain(known);
  });
});
