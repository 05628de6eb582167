// Whatever a patient row holds: the same bytes each time, nothing empty in them, and valid FHIR; or a reason without content.
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Profile } from '../../src/fhir/mapping/mapped-resource.ts';
import { patient } from '../../src/fhir/mapping/patient.ts';
import { isFhirString } from '../../src/fhir/model/primitives.ts';
import { PROFILES } from './golden.ts';
import { payloadOf } from './payloads.ts';
import { anyCharacters, anyUnits } from './texts.ts';
import { loadPatientDefinitions, problemsOf } from './validation.ts';

/** What tends to break things, alone and between other characters. */
const NASTY = [
  '',
  ' ',
  '\t',
  '\n',
  '\r\n',
  '\u00a0',
  '\u2028',
  '\ufeff',
  '\u0000',
  '\u001f',
  '\u007f',
  '\ud800',
  '\udc00',
];
const DELIMITERS = ['|', ',', '\\', '$', '%', '"', '\ufffd', '\u200f', '🏥', 'e\u0301', 'a', '7'];

const text = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.array(fc.constantFrom(...NASTY, ...DELIMITERS), { maxLength: 6 }).map((parts) => parts.join('')),
  },
  { weight: 2, arbitrary: anyCharacters },
  { weight: 1, arbitrary: anyUnits },
);
const column = fc.option(text, { freq: 4 });
/** Mostly what can be sent, so that most rows become a Patient. */
const identifier = fc.oneof(
  { weight: 4, arbitrary: fc.string({ minLength: 1, maxLength: 6 }) },
  { weight: 1, arbitrary: column },
);
const system = fc.oneof({ weight: 4, arbitrary: fc.webUrl() }, { weight: 1, arbitrary: column });
const date = fc.oneof(
  fc
    .date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true })
    .map((day) => day.toISOString().slice(0, 10)),
  fc
    .tuple(fc.nat(2100), fc.nat(13), fc.nat(32))
    .map(([y, m, d]) => [`${y}`.padStart(4, '0'), `${m}`.padStart(2, '0'), `${d}`.padStart(2, '0')].join('-')),
  fc.constantFrom('1990', '1990-07', 'infinity', '0044-03-15 BC', ' ', null),
  text,
);

const columns = fc.record(
  {
    active: fc.boolean(),
    deceased: fc.boolean(),
    birth_date: date,
    name_family: column,
    name_given: column,
    name_text: column,
    phone_number: column,
    email: column,
    address_line: column,
    address_city: column,
    address_state: column,
    address_postal_code: column,
    address_country: column,
    gender: fc.oneof(fc.constantFrom('male', 'F', 'other', 'diverse'), column),
    identifier_system: system,
    identifier_value: identifier,
    other_identifiers: fc.array(fc.record({ id: fc.nat(), identifier_system: system, identifier_value: identifier }), {
      maxLength: 4,
    }),
    added_by_the_application: fc.jsonValue(),
  },
  { requiredKeys: [] },
);

const map = (row: Record<string, unknown>, profile: Profile) => patient.map(payloadOf(row), profile, false);

/** The paths of what is empty in a value, and of texts that no FHIR string may be. */
function flawsOf(value: unknown, path = ''): string[] {
  if (typeof value === 'string') return value.trim() === '' || !isFhirString(value) ? [path] : [];
  if (typeof value === 'boolean') return [];
  if (typeof value !== 'object' || value === null) return [path];
  const parts = Object.entries(value);
  return parts.length === 0 ? [path] : parts.flatMap(([key, part]) => flawsOf(part, `${path}/${key}`));
}

beforeAll(() => loadPatientDefinitions());

describe.each(PROFILES)('a patient mapped for %s', (profile) => {
  it('gives the same bytes for the same row, in whatever order its columns come', () => {
    fc.assert(
      fc.property(columns, (row) => {
        const reversed = Object.fromEntries(Object.entries(structuredClone(row)).toReversed());
        expect(JSON.stringify(map(reversed, profile))).toBe(JSON.stringify(map(row, profile)));
      }),
      { numRuns: 500 },
    );
  });

  it('gives a valid Patient in which nothing is empty, or a reason', () => {
    let patients = 0;
    fc.assert(
      fc.property(columns, (row) => {
        const mapped = map(row, profile);
        if (!mapped.ok) return;
        patients += 1;
        expect(flawsOf(mapped.resource)).toEqual([]);
        expect(problemsOf(mapped.resource, profile)).toEqual([]);
        expect(mapped.identifiers[0]).toEqual(mapped.identifier);
        expect(mapped.resource.identifier).toHaveLength(mapped.identifiers.length);
        const distinct = new Set(mapped.identifiers.map((each) => JSON.stringify([each.system, each.value])));
        expect(distinct.size).toBe(mapped.identifiers.length);
      }),
      { numRuns: 1000 },
    );
    // Rows that are all refused would prove nothing.
    expect(patients).toBeGreaterThan(200);
  });

  it('gives reasons in words of its own only', () => {
    const reasons = new Set<string>();
    fc.assert(
      fc.property(columns, (row) => {
        const mapped = map(row, profile);
        if (!mapped.ok) reasons.add(mapped.reason);
      }),
      { numRuns: 2000 },
    );
    const whose = '(The identifier|An other identifier) of the patient cannot be sent';
    for (const reason of reasons) {
      expect(reason).toMatch(
        new RegExp(
          `^(${whose}: (its system holds white space, which a FHIR URI cannot|it holds control characters, which FHIR does not allow)\\.` +
            '|The patient has no identifier: identifier_value is empty\\.' +
            '|birth_date is no date that FHIR can hold \\(YYYY, YYYY-MM or YYYY-MM-DD\\)\\.)$',
        ),
      );
    }
    expect(reasons.size).toBeGreaterThan(3);
  });

  it('keeps a text that FHIR can hold as it is', () => {
    const held = text.filter((each) => each.trim() !== '' && isFhirString(each));
    fc.assert(
      fc.property(held, (each) => {
        expect(map({ name_family: each, phone_number: each, address_city: each }, profile)).toMatchObject({
          resource: { name: [{ family: each }], telecom: [{ value: each }], address: [{ city: each }] },
        });
      }),
    );
  });
});

describe('the two checks', () => {
  it.each([
    { birthDate: '1990-13-01' },
    { name: [] },
    { name: [{}] },
    { name: [{ family: '' }] },
    { telecom: [{ value: 'control \u0001' }] },
    { identifier: [{ system: 'white space', value: '7' }] },
    { active: 'true' },
    { birth_date: '1990-01-15' },
  ])('would see %j', (wrong) => {
    expect([...flawsOf(wrong), ...problemsOf({ resourceType: 'Patient', ...wrong } as never, 'r4')]).not.toEqual([]);
  });
});
