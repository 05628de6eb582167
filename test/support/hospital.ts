// What every catch-up has to cope with: patients that were changed again and again, identifiers that changed hands, and
// a judge who reads the FHIR server's ledger.
import { expect } from 'vitest';
import type { DatabaseTarget } from './connector.ts';
import type { Body, FhirLedger, Written } from './fhir-ledger.ts';
import { unprocessed } from './outbox.ts';
import { PATIENCE } from './patience.ts';
import { ask, run } from './with-client.ts';

/** Patients that give their identifier to a newcomer. */
const GIVERS = 25;

/**
 * `patients` patients of whom each change is a transaction of ten patients with two outbox rows each; a few gave
 * their identifier away to a newcomer. How often each was changed is kept, to be compared with the ledger.
 */
export class Hospital {
  readonly #patients: number;
  /** Family name → number of the last change, which is the given name. */
  readonly #changes = new Map<string, number>();

  constructor(patients: number) {
    this.#patients = patients;
  }

  async open(database: DatabaseTarget): Promise<void> {
    await run(
      database,
      this.#tensOf(`INSERT INTO patient (id, identifier_system, identifier_value, name_family, name_given)
                    SELECT n, 't', 'mrn' || n, 'P' || n, '1' FROM generate_series(low, high) AS n;
                    PERFORM setval('patient_id_seq', high);
                    INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value)
                    SELECT n, 'card', n FROM generate_series(low, high) AS n;`),
    );
    this.#count(1, this.#patients);
  }

  /** Each patient is changed once more; `bytes` make its state large. */
  async change(database: DatabaseTarget, { bytes = 0 } = {}): Promise<void> {
    await run(
      database,
      this.#tensOf(`UPDATE patient SET name_given = (name_given::int + 1)::text, address_line = repeat('x', ${bytes})
                     WHERE id BETWEEN low AND high;
                    UPDATE patient_other_identifiers SET identifier_value = identifier_value || '.'
                     WHERE patient_id BETWEEN low AND high;`),
    );
    this.#count(1, this.#patients);
  }

  /** Each patient is changed several times in one transaction: one change for the FHIR server. */
  async changeAtOnce(database: DatabaseTarget, { times, bytes }: { times: number; bytes: number }): Promise<void> {
    await run(
      database,
      `DO $$ BEGIN
         UPDATE patient SET name_given = (name_given::int + 1)::text, address_line = repeat('x', ${bytes});
         FOR n IN 2..${times} LOOP UPDATE patient SET active = true; END LOOP;
       END $$`,
    );
    this.#count(1, this.#patients);
  }

  /** Some patients get another number, and somebody new gets theirs. */
  async passIdentifiersOn(database: DatabaseTarget): Promise<void> {
    await run(
      database,
      `DO $$ BEGIN
         FOR n IN 1..${GIVERS} LOOP
           UPDATE patient SET identifier_value = 'new' || n, name_given = (name_given::int + 1)::text WHERE id = n;
           COMMIT;
           INSERT INTO patient (identifier_system, identifier_value, name_family, name_given) VALUES ('t', 'mrn' || n, 'Q' || n, '1');
           COMMIT;
         END LOOP;
       END $$`,
    );
    this.#count(1, GIVERS);
    this.#count(1, GIVERS, 'Q');
  }

  /** All that was committed has arrived, each patient's changes in order, each once, and nobody's on another one's resource. */
  async expectDelivered(database: DatabaseTarget, fhir: FhirLedger): Promise<void> {
    await expect.poll(() => unprocessed(database), { ...PATIENCE, interval: 200 }).toBe(0);
    expect(
      await ask(database, `SELECT error_text FROM fhir_dlq WHERE resolution IS DISTINCT FROM 'discarded'`),
    ).toEqual([]);
    const numbers = Map.groupBy(fhir.writes, ({ body }) => familyOf(body));
    const told = Object.fromEntries([...numbers].map(([who, writes]) => [who, writes.map(numberOf).join(' ')]));
    const expected = [...this.#changes].map(([who, last]) => [who, upTo(last)] as const);
    expect(told).toEqual(Object.fromEntries(expected));
    for (const [id, writes] of Map.groupBy(fhir.writes, (written) => written.id))
      expect([id, new Set(writes.map(({ body }) => familyOf(body))).size]).toEqual([id, 1]);
    expect(fhir.resources.size).toBe(this.#changes.size);
  }

  #count(first: number, last: number, prefix = 'P'): void {
    for (let n = first; n <= last; n += 1)
      this.#changes.set(`${prefix}${n}`, (this.#changes.get(`${prefix}${n}`) ?? 0) + 1);
  }

  #tensOf(statements: string): string {
    return `DO $$ DECLARE high int; BEGIN
      FOR low IN 1..${this.#patients} BY 10 LOOP
        high := least(low + 9, ${this.#patients});
        ${statements}
        COMMIT;
      END LOOP;
    END $$`;
  }
}

export function familyOf(body: Body | null): string {
  return (body?.name as { family: string }[] | undefined)?.[0]?.family ?? '';
}

function numberOf({ body }: Pick<Written, 'body'>): string {
  return (body?.name as { given: string[] }[] | undefined)?.[0]?.given[0] ?? '';
}

function upTo(last: number): string {
  return Array.from({ length: last }, (_, index) => index + 1).join(' ');
}
