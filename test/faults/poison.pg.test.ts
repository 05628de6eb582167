// One patient whom the FHIR server cannot take: nobody waits for it, it is tried as often as allowed, and goes on later.
import { afterEach, expect, it } from 'vitest';
import type { Fault } from '../support/fhir-ledger.ts';
import { allProcessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { addPatient, COUNT_UP, mrnOf } from '../support/patients.ts';
import { type LedgerScenario, startLedgerScenario } from '../support/scenario.ts';

const OTHERS = Array.from({ length: 30 }, (_, n) => `OTHER-${n}`);

let scenario: LedgerScenario;

afterEach(() => scenario.end());

it.each([
  { what: 'a refusal', fault: { status: 422, diagnostics: 'no' }, tries: 1, attempts: 0, status: 422 },
  { what: 'a failure', fault: { status: 500, diagnostics: 'no' }, tries: 4, attempts: 4, status: 500 },
  { what: 'a bad gateway', fault: { status: 502, diagnostics: 'no' }, tries: 4, attempts: 4, status: 502 },
  { what: 'a broken connection', fault: { cut: 'before' }, tries: 4, attempts: 4, status: null },
  { what: 'silence', fault: { cut: 'silent-before' }, tries: 4, attempts: 4, status: null },
] as const)(
  'a patient that always meets $what is dead-lettered after its tries, nobody waits for it, and its later changes go on',
  async ({ fault, tries, attempts, status }) => {
    scenario = await startLedgerScenario({ maxRetries: 3, timeoutMs: 'cut' in fault ? 1000 : 10_000 });
    const { database, fhir } = scenario;
    const others = await Promise.all(OTHERS.map((mrn) => addPatient(database, mrn)));
    const poison = await addPatient(database, 'POISON');
    await allProcessed(database);

    // Its last try is held back until all the others are done.
    const othersDone = Promise.withResolvers<void>();
    let seen = 0;
    fhir.fault = ({ method, path, body }): Fault | undefined => {
      if (method !== 'PUT' || mrnOf(body) !== 'POISON') return undefined;
      expect(path).not.toContain('?');
      // The change that the server takes again.
      if (phoneOf(body) === '3') return undefined;
      if (phoneOf(body) === '1') seen += 1;
      return phoneOf(body) === '1' && seen === tries && status ? { ...fault, delay: othersDone.promise } : fault;
    };
    const before = fhir.writes.length;
    await database.pool.query(COUNT_UP, [[poison]]);
    await Promise.all(Array.from({ length: 3 }, () => database.pool.query(COUNT_UP, [others])));
    await expect.poll(() => fhir.writes.length, PATIENCE).toBe(before + 3 * OTHERS.length);
    if (status) expect(await deadLetters()).toEqual([]);
    othersDone.resolve();
    await database.pool.query(COUNT_UP, [[poison]]);
    await allProcessed(database);
    const letter = { status, attempts, outcome: status ? 'OperationOutcome' : null };
    expect(await deadLetters()).toEqual([
      { ...letter, phone: '1', resolution: null },
      { ...letter, phone: '2', resolution: null },
    ]);
    // What breaks on a connection that served before is sent again at once, within the same try.
    if (status) expect(seen).toBe(tries);
    else expect(seen).toBeGreaterThanOrEqual(tries);

    await database.pool.query(COUNT_UP, [[poison]]);
    await allProcessed(database);
    expect(fhir.writes.filter(({ body }) => mrnOf(body) === 'POISON').map(({ body }) => phoneOf(body))).toEqual([
      undefined,
      '3',
    ]);
    expect((await deadLetters()).map(({ resolution }) => resolution)).toEqual(['superseded', 'superseded']);
  },
);

function phoneOf(body: Record<string, unknown> | null): string | undefined {
  return (body?.telecom as { value: string }[] | undefined)?.[0]?.value;
}

async function deadLetters() {
  const { rows } = await scenario.database.pool.query(
    `SELECT http_status AS status, attempts, operation_outcome ->> 'resourceType' AS outcome,
            payload_json ->> 'phone_number' AS phone, resolution FROM fhir_dlq ORDER BY id`,
  );
  return rows;
}
