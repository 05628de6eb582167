// What one transaction does to a patient becomes one PUT of the whole patient; transactions are never merged.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allProcessed } from '../support/outbox.ts';
import { addPatient } from '../support/patients.ts';
import { type Scenario, startScenario } from '../support/scenario.ts';
import { auditTrail, inOneTransaction } from './setup.ts';

let scenario: Scenario;

beforeAll(async () => {
  scenario = await startScenario();
});

afterAll(() => scenario.end());

/** A delivered patient with an other identifier; the PUTs of the test come after it. */
async function knownPatient(value: string): Promise<number> {
  const { database } = scenario;
  const { rows } = await database.pool.query<{ id: number }>(
    `WITH p AS (INSERT INTO patient (name_family, name_given, identifier_system, identifier_value)
                VALUES ('Doe', 'Jane', 'urn:mrn', $1) RETURNING id)
     INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value)
     SELECT id, 'urn:ins', $1 || '-old' FROM p RETURNING patient_id AS id`,
    [value],
  );
  await allProcessed(database);
  expect(scenario.sink.putsOf(value)).toHaveLength(1);
  return rows[0]?.id ?? Number.NaN;
}

describe('several changes in one transaction', () => {
  it('make one PUT with the whole patient, and each of their outbox rows names its version', async () => {
    const { database, sink } = scenario;
    const id = await knownPatient('ONE-TX');
    await inOneTransaction(
      database,
      `UPDATE patient SET email = 'jane@example.com' WHERE id = ${id}`,
      `UPDATE patient_other_identifiers SET identifier_value = 'ONE-TX-new' WHERE patient_id = ${id}`,
      `UPDATE patient SET address_city = 'Boston' WHERE id = ${id}`,
    );
    await allProcessed(database);
    const [, put, ...more] = sink.putsOf('ONE-TX');
    expect(more).toEqual([]);
    expect(put?.version).toBe(2);
    expect(put?.body).toMatchObject({
      identifier: [
        { system: 'urn:mrn', value: 'ONE-TX' },
        { system: 'urn:ins', value: 'ONE-TX-new' },
      ],
      name: [{ family: 'Doe', given: ['Jane'] }],
      telecom: [{ system: 'email', value: 'jane@example.com' }],
      address: [{ city: 'Boston' }],
    });
    const trail = (await auditTrail(database, id)).slice(2);
    expect(trail.map(({ fhir_version }) => fhir_version)).toEqual(['2', '2', '2']);
    expect(new Set(trail.map(({ txid }) => txid)).size).toBe(1);
  });

  it('make one PUT for each patient that they touch', async () => {
    const { database, sink } = scenario;
    const a = await knownPatient('A-OF-TWO');
    const b = await knownPatient('B-OF-TWO');
    const before = sink.puts.length;
    await inOneTransaction(
      database,
      `UPDATE patient SET phone_number = '1' WHERE id = ${a}`,
      `UPDATE patient SET phone_number = '2' WHERE id = ${b}`,
      `UPDATE patient SET phone_number = '3' WHERE id = ${a}`,
    );
    await allProcessed(database);
    const sent = sink.puts.slice(before).map(({ body }) => [body.identifier, body.telecom]);
    expect(sent).toHaveLength(2);
    expect(JSON.stringify(sent)).not.toContain('"value":"1"');
  });
});

describe('a change of one identifier alone', () => {
  it('PUTs the whole patient with its name', async () => {
    const { database, sink } = scenario;
    const id = await knownPatient('ID-ONLY');
    await database.pool.query(
      `UPDATE patient_other_identifiers SET identifier_value = 'ID-ONLY-new' WHERE patient_id = ${id}`,
    );
    await allProcessed(database);
    const [first, put, ...more] = sink.putsOf('ID-ONLY');
    expect(more).toEqual([]);
    expect(put?.body).toEqual({
      ...first?.body,
      id: first?.id,
      identifier: [
        { type: expect.anything(), system: 'urn:mrn', value: 'ID-ONLY' },
        { system: 'urn:ins', value: 'ID-ONLY-new' },
      ],
    });
    expect(put?.body.name).toEqual([{ text: 'Jane Doe', family: 'Doe', given: ['Jane'] }]);
  });

  it('keeps the resource when it is the primary one', async () => {
    const { database, sink } = scenario;
    const id = await knownPatient('PRIMARY-old');
    await database.pool.query(`UPDATE patient SET identifier_value = 'PRIMARY-new' WHERE id = ${id}`);
    await allProcessed(database);
    const [before] = sink.putsOf('PRIMARY-old');
    const [after] = sink.putsOf('PRIMARY-new');
    expect(after).toMatchObject({ id: before?.id, version: 2, identifier: null, ifMatch: 'W/"1"' });
  });
});

describe('three transactions', () => {
  it('make three versions, in order, though they are committed back to back', async () => {
    const { database, sink } = scenario;
    const id = await addPatient(database, 'THREE');
    // One round trip, three transactions.
    await database.pool.query(
      ['a', 'b', 'c']
        .map((city) => `BEGIN; UPDATE patient SET address_city = '${city}' WHERE id = ${id}; COMMIT`)
        .join(';'),
    );
    await allProcessed(database);
    const puts = sink.putsOf('THREE').slice(1);
    expect(puts.map(({ version, body }) => [version, (body.address as { city: string }[])[0]?.city])).toEqual([
      [2, 'a'],
      [3, 'b'],
      [4, 'c'],
    ]);
    const trail = await auditTrail(database, id);
    expect(trail.map(({ fhir_version }) => fhir_version)).toEqual(['1', '2', '3', '4']);
    expect(new Set(trail.map(({ txid }) => txid)).size).toBe(4);
  });
});
