// A patient row becomes the Patient that its golden file says, byte for byte; what FHIR cannot hold is refused with a reason.
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type MappedResource, mapPatient, patientPayload } from '../../src/fhir/patient-mapper.ts';
import type { Patient } from '../../src/fhir/resources.ts';
import { payloadOf } from './payloads.ts';
import { loadPatientDefinition, problemsOf } from './r4-validation.ts';

interface Golden {
  readonly case: string;
  /** What the row has beside its identifier. */
  readonly columns: Record<string, unknown>;
  readonly resource?: Patient;
  readonly reason?: string;
}

function golden(file: string): unknown {
  return JSON.parse(readFileSync(join(import.meta.dirname, 'golden', file), 'utf8'));
}

const map = (payload: unknown) => mapPatient(patientPayload.parse(payload));
const mapColumns = (columns: Record<string, unknown>) => map(payloadOf(columns));

/** The bytes that are sent. */
const body = (mapped: MappedResource) => (mapped.ok ? JSON.stringify(mapped.resource) : mapped.reason);

beforeAll(() => loadPatientDefinition());

describe("the patient of the design document's example", () => {
  const { payload, resource } = golden('john-smith.json') as { payload: unknown; resource: Patient };

  it('becomes its Patient', () => {
    const mapped = map(payload);
    expect(mapped).toEqual({
      ok: true,
      resource,
      identifier: { system: 'https://hospital.example.com/mrn', value: 'MRN-001234' },
      identifiers: [{ system: 'https://hospital.example.com/mrn', value: 'MRN-001234' }],
    });
    expect(body(mapped)).toBe(JSON.stringify(resource));
    expect(problemsOf(resource)).toEqual([]);
  });

  it('is deactivated after a delete, and nothing else changes', () => {
    const mapped = mapPatient(patientPayload.parse(payload), { active: false });
    expect(body(mapped)).toBe(JSON.stringify({ ...resource, active: false }));
  });
});

const files = globSync('*.json', { cwd: join(import.meta.dirname, 'golden') }).toSorted();

describe.each(files.filter((file) => file !== 'john-smith.json'))('golden/%s', (file) => {
  it.each(golden(file) as Golden[])('$case', ({ columns, resource, reason }) => {
    const mapped = mapColumns(columns);
    // As text, for the order of the elements is part of what is repeated.
    expect(body(mapped)).toBe(resource ? JSON.stringify(resource) : reason);
    expect(mapped.ok).toBe(reason === undefined);
    if (resource) expect(problemsOf(resource)).toEqual([]);
  });
});

describe('golden', () => {
  it('has the cases that this test has read', () => {
    expect(files.map((file) => basename(file, '.json'))).toEqual([
      'characters',
      'identifiers',
      'john-smith',
      'names',
      'particulars',
    ]);
  });
});

describe('a date of birth', () => {
  it.each([
    'infinity',
    '-infinity',
    '0044-03-15 BC',
    '10000-01-01',
    '0000-01-01',
    '1990-02-30',
    '1900-02-29',
    '2023-02-29',
    '1990-04-31',
    '1990-13-01',
    '1990-00-01',
    '1990-01-00',
    '1990-01-32',
    '1990-1-5',
    '90-01-05',
    '15.01.1990',
    '1990-01-15T00:00:00',
    '1990-01-15\n1990-01-16',
    '19900115',
    '١٩٩٠-٠١-١٥',
  ])('%j is refused', (birth_date) => {
    expect(mapColumns({ birth_date })).toEqual({
      ok: false,
      reason: 'birth_date is no date that FHIR can hold (YYYY, YYYY-MM or YYYY-MM-DD).',
    });
  });

  it.each(['1990-02-28', '1996-02-29', '2400-02-29', '1990-04-30', '1990-12-31', '9999-12-31', ' 1990-01-15 '])(
    '%j is sent as it stands',
    (birth_date) => {
      const mapped = mapColumns({ birth_date });
      expect(mapped).toMatchObject({ ok: true, resource: { birthDate: birth_date.trim() } });
      if (mapped.ok) expect(problemsOf(mapped.resource)).toEqual([]);
    },
  );

  it.each([null, '', ' '])('%j is none', (birth_date) => {
    expect(body(mapColumns({ birth_date }))).not.toContain('birthDate');
  });
});

describe('gender', () => {
  it.each([
    ['male', ['male', 'Male', ' MALE\n', 'm', 'M']],
    ['female', ['female', 'FEMALE', 'f', 'F ']],
    ['other', ['other', 'Other', 'o', 'O']],
    ['unknown', ['unknown', 'U', 'x', 'männlich', 'mal', 'malefemale', '1', '', ' ', null]],
  ])('is %s for each of %j', (gender, columns) => {
    for (const column of columns) expect(mapColumns({ gender: column })).toMatchObject({ resource: { gender } });
  });
});

describe('a payload', () => {
  it('of an older version, without the columns that came later, is read', () => {
    const mapped = map({ identifier_value: 'MRN-1', active: null, deceased: null, other_identifiers: null });
    expect(body(mapped)).toBe(
      '{"resourceType":"Patient","identifier":[{"value":"MRN-1"}],"active":true,"gender":"unknown"}',
    );
  });

  it('of a deleted patient whose row could not be read any more has no identifier', () => {
    expect(map({})).toEqual({ ok: false, reason: 'The patient has no identifier: identifier_value is empty.' });
  });

  it.each([{ identifier_value: 1234567890123456 }, { name_family: 7 }, { active: 'yes' }, { other_identifiers: {} }])(
    'with the wrong type in a column that is mapped is no patient: %j',
    (columns) => {
      expect(patientPayload.safeParse(payloadOf(columns)).success).toBe(false);
    },
  );

  it('may have a megabyte in any text', () => {
    const long = 'ä 🏥'.repeat(150_000);
    const mapped = mapColumns({ name_family: long, name_text: long, address_city: long, phone_number: long });
    expect(mapped).toMatchObject({
      resource: {
        name: [{ family: long, text: long }],
        telecom: [{ system: 'phone', value: long }],
        address: [{ city: long }],
      },
    });
  });

  it.each([' ', '\n', 'a ', 'a\n', '\ud800'])('of a megabyte of %j takes no time to speak of', (unit) => {
    const long = unit.repeat(1_000_000 / unit.length);
    const started = performance.now();
    mapColumns({ name_family: long, name_given: long, address_line: long, identifier_value: `${long}7`, gender: long });
    expect(performance.now() - started).toBeLessThan(4000);
  });
});
