// The rows of a transaction as they arrive: kept while they are few, known by their ids only once they are many.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TransactionRows } from '../../src/outbox/delivery/transaction-rows.ts';

const MIB = 1024 * 1024;
const row = (id: number, patient: number | null) => ({ id: String(id), txid: '77', patient_id: patient });

/** More than is kept, whatever the rows. */
function spilled(patients: readonly (number | null)[]): TransactionRows {
  const rows = new TransactionRows();
  for (const [index, patient] of patients.entries()) rows.add(row(index + 1, patient), 9 * MIB);
  return rows;
}

describe('a small transaction', () => {
  it('is kept as it came', () => {
    const rows = new TransactionRows();
    expect(rows.rows).toEqual([]);
    expect(rows.txid).toBe(null);
    const [one, two] = [row(1, 4), row(2, 3)];
    rows.add(one, 4 * MIB);
    rows.add(two, 4 * MIB);
    expect(rows.rows).toEqual([
      { row: one, bytes: 4 * MIB },
      { row: two, bytes: 4 * MIB },
    ]);
    expect(rows.txid).toBe(77);
  });
});

describe('a transaction of more than 8 MiB', () => {
  it('keeps no rows, only their ids, of those from before the bound too', () => {
    const rows = new TransactionRows();
    rows.add(row(1, 4), 8 * MIB);
    expect(rows.rows).toHaveLength(1);
    rows.add(row(2, 4), 1);
    expect(rows.rows).toBe(null);
    rows.add(row(3, 5), 1);
    expect(rows.rows).toBe(null);
    expect(rows.txid).toBe(77);
    expect([...rows.chunksOfPatients(100)]).toEqual([[1, 2, 3]]);
  });

  it('is given back in chunks of whole patients, each in the order of its rows, with nothing lost', () => {
    const patients = fc.array(fc.option(fc.integer({ min: 1, max: 8 })), { minLength: 1, maxLength: 80, size: 'max' });
    fc.assert(
      fc.property(patients, fc.integer({ min: 1, max: 12 }), (of, size) => {
        const chunks = [...spilled(of).chunksOfPatients(size)];
        const patientOf = (id: number) => of[id - 1] ?? 0;
        expect(chunks.flat().toSorted((a, b) => a - b)).toEqual(of.map((_, index) => index + 1));
        const seen = new Set<number>();
        for (const [index, chunk] of chunks.entries()) {
          const inChunk = new Set(chunk.map(patientOf));
          for (const patient of inChunk) {
            expect(seen.has(patient), 'a patient in two chunks').toBe(false);
            const ids = chunk.filter((id) => patientOf(id) === patient);
            expect(ids).toEqual(ids.toSorted((a, b) => a - b));
          }
          for (const patient of inChunk) seen.add(patient);
          // A chunk is full before the next begins, and goes past `size` only to end a patient.
          if (index < chunks.length - 1) expect(chunk.length).toBeGreaterThanOrEqual(size);
          const last = patientOf(chunk.at(-1) ?? 0);
          expect(chunk.filter((id) => patientOf(id) !== last).length).toBeLessThan(size);
        }
      }),
    );
  });

  it('has all rows of a form that goes from one patient to another with the last one, who may be the first to come', () => {
    const rows = new TransactionRows();
    const add = (id: number, patient: number, record: number) =>
      rows.add(
        { id: String(id), txid: '77', patient_id: patient, table_name: 'form', record_id: record, operation: 'U' },
        9 * MIB,
      );
    add(1, 900, 5);
    add(2, 900, 6);
    add(3, 100, 5);
    add(4, 500, 7);
    expect([...rows.chunksOfPatients(1)]).toEqual([[1, 3], [4], [2]]);
  });

  it('of one patient with very many forms and readings, is parted between them: in the order in which they refer to each other', () => {
    const rows = new TransactionRows();
    const tables = ['pulse', 'form', 'patient', 'blood_pressure'];
    const ids = new Map<number, string>();
    let id = 0;
    const add = (table: string, record: number, operation: string) => {
      id += 1;
      ids.set(id, `${table} ${record} ${operation}`);
      rows.add({ id: String(id), txid: '77', patient_id: 4, table_name: table, record_id: record, operation }, 9 * MIB);
    };
    for (let record = 1; record <= 30; record += 1)
      for (const table of tables) add(table, table === 'patient' ? 4 : record, 'U');
    add('form', 1, 'D');
    add('pulse', 1, 'D');
    const chunks = [...rows.chunksOfPatients(3)];
    expect(chunks.flat().toSorted((a, b) => a - b)).toEqual([...ids.keys()]);
    const whose = (row: number) => ids.get(row)?.replace(/ \w$/, '') ?? '';
    const order = [...new Set(chunks.flat().map(whose))];
    expect(order[0]).toBe('patient 4');
    const tableOf = (who: string) => who.split(' ')[0];
    expect([...new Set(order.map(tableOf))]).toEqual(['patient', 'form', 'blood_pressure', 'pulse']);
    // What is deleted comes last, what refers first.
    expect(order.slice(-2)).toEqual(['pulse 1', 'form 1']);
    const chunksOf = Map.groupBy(
      chunks.flatMap((chunk, index) => chunk.map((row) => [whose(row), index] as const)),
      ([who]) => who,
    );
    for (const [who, seen] of chunksOf) expect(new Set(seen.map(([, index]) => index)).size, who).toBe(1);
    for (const chunk of chunks.slice(1)) expect(chunk.length).toBeLessThan(7);
  });

  it('of many rows, more than one piece holds, has the new patients last and the highest ids whole', () => {
    const rows = new TransactionRows();
    rows.add({ ...row(1, 2 ** 31 - 1), table_name: 'patient', operation: 'I' }, 9 * MIB);
    const many = 140_000;
    for (let n = 2; n <= many; n += 1)
      rows.add({ ...row(n, (n * 7919) % 50_021), table_name: 'patient', operation: 'U' }, 1);
    rows.add({ ...row(many + 1, 2 ** 31 - 1), table_name: 'patient', operation: 'U' }, 1);
    const ids = [...rows.chunksOfPatients(500)].flat();
    expect(ids.slice(-2)).toEqual([1, many + 1]);
    expect(new Set(ids).size).toBe(many + 1);
    expect(ids.length).toBe(many + 1);
  });
});
