// Rows of fhir_outbox as the slot and as the table give them: read alike, or refused with the columns at fault and no content.
import { describe, expect, it } from 'vitest';
import { parseEvent } from '../../src/outbox/delivery/event.ts';
import { outboxRow } from './rows.ts';

function read(values: Parameters<typeof outboxRow>[0]) {
  const parsed = parseEvent(outboxRow(values));
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.event;
}

function refusal(values: Parameters<typeof outboxRow>[0]) {
  const parsed = parseEvent(outboxRow(values));
  if (parsed.ok) throw new Error('The row was read.');
  return parsed;
}

describe('parseEvent', () => {
  it('reads bigint columns as text or as numbers', () => {
    const event = read({ id: '9007199254740991', txid: '4294967301', patient_revision: '12' });
    expect(event).toMatchObject({ id: 9007199254740991, txid: 4294967301, revision: 12 });
    expect(read({ id: 7, txid: 8, patient_revision: 9 })).toMatchObject({ id: 7, txid: 8, revision: 9 });
  });

  it('takes an empty payload for none', () => {
    expect(read({ payload_json: {} }).payload).toBe(null);
    expect(read({ payload_json: { id: 1 } }).payload).toEqual({ id: 1 });
  });

  it('keeps null apart from the empty list among the identifiers from before', () => {
    expect(read({ previous_identifiers: null }).previous).toBe(null);
    expect(read({ previous_identifiers: [] }).previous).toEqual([]);
  });

  it('reads the identifiers from before as it reads those of today: without the white space around them', () => {
    const previous_identifiers = [
      { system: ' urn:a ', value: ' 7', primary: true },
      { system: null, value: '8\t', primary: false },
    ];
    expect(read({ previous_identifiers }).previous).toEqual([
      { system: 'urn:a', value: '7', primary: true },
      { system: '', value: '8', primary: false },
    ]);
  });

  it('leaves out identifiers from before that were none', () => {
    const previous_identifiers = [
      { system: 'urn:a', value: null, primary: true },
      { system: 'urn:a', value: '  ', primary: false },
      { system: 'urn a', value: '1', primary: false },
      { system: 'urn:a', value: '2', primary: false },
    ];
    expect(read({ previous_identifiers }).previous).toEqual([{ system: 'urn:a', value: '2', primary: false }]);
  });

  it('ignores columns that it does not know', () => {
    expect(read({ added_later: 'x' } as object)).not.toHaveProperty('added_later');
  });

  it.each([
    ['operation', { operation: 'T' }],
    ['payload_json', { payload_json: 'Smith, secret' }],
    ['patient_revision', { patient_revision: 'secret' }],
    ['previous_identifiers', { previous_identifiers: [{ value: 'secret' }] }],
    ['table_name', { table_name: null }],
  ])(
    'refuses an unexpected %s, with the row, its transaction and the column but never its content',
    (column, values) => {
      expect(refusal({ id: '5', txid: '6', ...values } as object)).toEqual({
        ok: false,
        id: 5,
        txid: 6,
        reason: `The outbox row cannot be read: unexpected content in ${column}.`,
      });
    },
  );

  it('names each column at fault once', () => {
    expect(refusal({ operation: 'T', previous_identifiers: [{ value: 1 }, { value: 2 }] } as object).reason).toMatch(
      /unexpected content in operation, previous_identifiers\.$/,
    );
  });

  it('knows how much memory a row takes, 2 KiB at least', () => {
    expect(read({}).bytes).toBe(2048);
    expect(parseEvent(outboxRow({}), 60_000)).toMatchObject({ event: { bytes: 60_000 } });
  });
});
