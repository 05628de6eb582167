// A patient row becomes the Patient that its golden file says, byte for byte; what FHIR cannot hold is refused with a reason.
import { beforeAll, describe, expect, it, vi } from 'vitest';
import type { MappedResource } from '../../src/fhir/mapping/mapped-resource.ts';
import { patient } from '../../src/fhir/mapping/patient.ts';
import { goldens, PROFILES } from './golden.ts';
import { payloadOf } from './payloads.ts';
import { plantedFaults, SOUND } from './planted-faults.ts';
import { loadPatientDefinitions, problemsOf } from './validation.ts';

const map = (payload: Record<string, unknown> = {}, profile = PROFILES[0] ?? 'us-core', withdraw = false) =>
  patient.map(payload, profile, withdraw);
const mapColumns = (columns: Record<string, unknown>) => map(payloadOf(columns));

/** The bytes that are sent. */
const body = (mapped: MappedResource) => (mapped.ok ? JSON.stringify(mapped.resource) : mapped.reason);

beforeAll(() => loadPatientDefinitions());

describe.each(PROFILES)('FHIR_PROFILE=%s', (profile) => {
  describe.each([...goldens])('each case of golden/%s', (_, cases) => {
    it.each(cases.map((each) => [each.case, each] as const))(
      'becomes what the file has: %s',
      (_, { payload, expected }) => {
        const mapped = map(payload, profile);
        // As text, for the order of the elements is part of what is repeated.
        expect(body(mapped)).toBe('reason' in expected ? expected.reason : JSON.stringify(expected[profile]));
        expect(mapped.ok).toBe(!('reason' in expected));
        if (mapped.ok) expect(problemsOf(mapped.resource, profile)).toEqual([]);
      },
    );
  });

  it('deactivates after a delete, and nothing else changes', () => {
    for (const { payload, expected } of [...goldens.values()].flat()) {
      const mapped = map(payload, profile, true);
      if ('reason' in expected) expect(body(mapped)).toBe(expected.reason);
      else expect(body(mapped)).toBe(JSON.stringify({ ...expected[profile], active: false }));
    }
  });
});

describe('the folder golden', () => {
  it('has the cases that this test has read', () => {
    expect([...goldens.keys()]).toEqual([
      'characters.json',
      'identifiers.json',
      'john-smith.json',
      'lengths.json',
      'names.json',
      'particulars.json',
      'unnamed.json',
    ]);
    expect([...goldens.values()].flat().length).toBeGreaterThan(45);
  });

  it('is addressed by the primary identifier, and has the others behind it', () => {
    const [unnamed] = goldens.get('unnamed.json') ?? [];
    expect(map(unnamed?.payload)).toMatchObject({
      identifier: { system: '', value: '0815' },
      identifiers: [
        { system: '', value: '0815' },
        { system: 'https://insurance.example.com/members', value: 'INS-9' },
      ],
    });
  });
});

it('a patient with a hundred thousand other identifiers is mapped in a moment, each identifier once', () => {
  const other_identifiers = Array.from({ length: 100_000 }, (_, n) => ({
    identifier_system: 'urn:many',
    identifier_value: `${n % 99_999}`,
  }));
  const started = performance.now();
  const mapped = mapColumns({ other_identifiers });
  // Comparing each with all others takes minutes, in which nobody else is delivered.
  expect(performance.now() - started).toBeLessThan(10_000);
  expect(mapped).toMatchObject({ ok: true, identifiers: { length: 100_000 } });
});

describe('the validator', () => {
  it('finds nothing wrong with a sound Patient', () => {
    expect(problemsOf(SOUND, 'us-core')).toEqual([]);
  });

  it.each(plantedFaults('medplum', true))('would see %s', (_, patient) => {
    expect(problemsOf(patient, 'us-core')).not.toEqual([]);
  });

  // test/hapi/validate.test.ts shows that HAPI sees them.
  it.each(plantedFaults('medplum', false))('misses %s', (_, patient) => {
    expect(problemsOf(patient, 'us-core')).toEqual([]);
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
      if (mapped.ok) expect(problemsOf(mapped.resource, 'us-core')).toEqual([]);
    },
  );

  it.each(['Pacific/Kiritimati', 'America/Los_Angeles'])('is the same day in %s', (zone) => {
    const offset = new Date(0).getTimezoneOffset();
    vi.stubEnv('TZ', zone);
    const moved = new Date(0).getTimezoneOffset() !== offset;
    const mapped = mapColumns({ birth_date: '1990-01-15' });
    vi.unstubAllEnvs();
    expect(moved).toBe(true);
    expect(mapped).toMatchObject({ resource: { birthDate: '1990-01-15' } });
  });

  it.each([null, '', ' '])('%j is none', (birth_date) => {
    expect(body(mapColumns({ birth_date }))).not.toContain('birthDate');
  });
});

describe('gender', () => {
  it.each([
    ['male', ['male', 'Male', ' MALE\n', 'm', 'M', 'm\f']],
    ['female', ['female', 'FEMALE', 'f', 'F ']],
    ['other', ['other', 'Other', 'o', 'O']],
    ['unknown', ['unknown', 'U', 'x', 'männlich', 'mal', 'malefemale', '1', '', ' ', null]],
  ])('is %s for each of %j', (gender, columns) => {
    for (const column of columns) expect(mapColumns({ gender: column })).toMatchObject({ resource: { gender } });
  });
});

describe('a payload', () => {
  it('of an older version, without the columns that came later, is read', () => {
    const mapped = map({ identifier_value: 'MRN-1', active: null, deceased: null, other_identifiers: null }, 'r4');
    expect(body(mapped)).toBe(
      '{"resourceType":"Patient","identifier":[{"value":"MRN-1"}],"active":true,"gender":"unknown"}',
    );
  });

  it('of a deleted patient whose row could not be read any more has no identifier', () => {
    expect(map({})).toEqual({ ok: false, reason: 'The patient has no identifier: identifier_value is empty.' });
  });

  it.each([
    [{ identifier_value: 1234567890123456 }, 'identifier_value is no text.'],
    [{ name_family: 7 }, 'name_family is no text.'],
    [{ active: 'yes' }, 'active is neither true nor false.'],
    [{ other_identifiers: {} }, 'other_identifiers is no list of identifiers.'],
    [{ other_identifiers: ['INS-9'] }, 'other_identifiers is no list of identifiers.'],
    [{ other_identifiers: [{ identifier_value: 9 }] }, 'other_identifiers is no list of identifiers.'],
  ])('with the wrong type in a column that is mapped is refused by its name: %j', (columns, reason) => {
    expect(mapColumns(columns)).toEqual({ ok: false, reason });
  });

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
