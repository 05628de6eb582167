// Forms and readings become Encounters and Observations that are valid by HL7's definitions, or are refused with a reason.
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { bloodPressure } from '../../src/fhir/mapping/blood-pressure.ts';
import { encounter } from '../../src/fhir/mapping/encounter.ts';
import type { Profile } from '../../src/fhir/mapping/mapped-resource.ts';
import { pulse } from '../../src/fhir/mapping/pulse.ts';
import type { RowMapping } from '../../src/fhir/mapping/row-mapping.ts';
import type { Resource } from '../../src/fhir/model/resource-types.ts';
import { PROFILES } from './golden.ts';
import { recordPayload } from './records.ts';
import { loadRecordDefinitions, problemsOfRecord } from './validation.ts';

beforeAll(() => loadRecordDefinitions());

type Columns = Readonly<Record<string, unknown>>;

const mapped = (mapping: RowMapping, columns: Columns, profile: Profile = 'r4', withdraw = false) =>
  mapping.map(recordPayload(mapping.table, columns), profile, withdraw);

function resourceOf(mapping: RowMapping, columns: Columns, profile: Profile = 'r4', withdraw = false): Resource {
  const result = mapped(mapping, columns, profile, withdraw);
  if (!result.ok) throw new Error(result.reason);
  return result.resource;
}

/** As it is sent: with what only the links know. */
function sent(mapping: RowMapping, columns: Columns, profile: Profile): Resource {
  const references = mapping.references.map(({ element, table }) => [
    element,
    { reference: table === 'patient' ? 'Patient/p1' : 'Encounter/e1' },
  ]);
  return { ...resourceOf(mapping, columns, profile), ...Object.fromEntries(references) };
}

const identifierOf = (table: string) => [
  { system: 'urn:uuid:0f5c1c4e-6a52-4d0a-9d0f-3f3b6b1c7a11', value: `${table}/7` },
];
const vital = {
  status: 'final',
  category: [
    {
      coding: [
        {
          system: 'http://terminology.hl7.org/CodeSystem/observation-category',
          code: 'vital-signs',
          display: 'Vital Signs',
        },
      ],
    },
  ],
};
const UNKNOWN = {
  coding: [{ system: 'http://terminology.hl7.org/CodeSystem/data-absent-reason', code: 'unknown', display: 'Unknown' }],
};
const loinc = (code: string, display: string) => ({ coding: [{ system: 'http://loinc.org', code, display }] });
const snomed = (code: string, display: string, text: string) => ({
  coding: [{ system: 'http://snomed.info/sct', code, display }],
  text,
});

describe('a row of form', () => {
  it('is a finished Encounter', () => {
    expect(resourceOf(encounter, { name: 'Annual Physical' })).toEqual({
      resourceType: 'Encounter',
      identifier: identifierOf('form'),
      status: 'finished',
      class: { system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code: 'AMB', display: 'ambulatory' },
      type: [{ text: 'Annual Physical' }],
      period: { start: '2024-01-15T10:30:00-05:00' },
    });
  });

  it('without a name says under US Core that its type is unknown, and in R4 nothing', () => {
    expect(resourceOf(encounter, { name: ' ' })).not.toHaveProperty('type');
    expect(resourceOf(encounter, { name: ' ' }, 'us-core')).toMatchObject({
      meta: { profile: ['http://hl7.org/fhir/us/core/StructureDefinition/us-core-encounter'] },
      type: [{ extension: [{ valueCode: 'unknown' }] }],
    });
  });
});

describe('a row of blood_pressure', () => {
  it('is an Observation with both pressures, position and arm as codes, and the comment', () => {
    const columns = {
      systolic_pressure: 145,
      diastolic_pressure: 92,
      position: 'sitting',
      location: 'Left arm',
      comment: 'Elevated',
    };
    expect(resourceOf(bloodPressure, columns)).toEqual({
      resourceType: 'Observation',
      identifier: identifierOf('blood_pressure'),
      ...vital,
      extension: [
        {
          url: 'http://hl7.org/fhir/StructureDefinition/observation-bodyPosition',
          valueCodeableConcept: snomed('33586001', 'Sitting position', 'sitting'),
        },
      ],
      code: loinc('85354-9', 'Blood pressure panel with all children optional'),
      effectiveDateTime: '2024-01-15T10:35:00-05:00',
      bodySite: snomed('368208006', 'Left upper arm structure', 'Left arm'),
      component: [
        {
          code: loinc('8480-6', 'Systolic blood pressure'),
          valueQuantity: { value: 145, unit: 'mmHg', system: 'http://unitsofmeasure.org', code: 'mm[Hg]' },
        },
        {
          code: loinc('8462-4', 'Diastolic blood pressure'),
          valueQuantity: { value: 92, unit: 'mmHg', system: 'http://unitsofmeasure.org', code: 'mm[Hg]' },
        },
      ],
      note: [{ text: 'Elevated' }],
    });
  });

  it('says of a half that is missing that it is unknown', () => {
    expect(resourceOf(bloodPressure, { systolic_pressure: 120 })).toMatchObject({
      component: [{ valueQuantity: { value: 120 } }, { dataAbsentReason: UNKNOWN }],
    });
  });

  it('keeps a word that it has no code for as text alone', () => {
    expect(resourceOf(bloodPressure, { location: 'left ankle' })).toMatchObject({ bodySite: { text: 'left ankle' } });
    // Not a word of every object's.
    expect(resourceOf(bloodPressure, { location: 'constructor' })).toHaveProperty('bodySite', { text: 'constructor' });
  });
});

describe('a row of pulse', () => {
  it('is an Observation of the heart rate with rhythm, method and site', () => {
    const columns = { rate: 88, regularity: 'irregular', method: 'auscultation', body_site: 'heart', comment: 'AF' };
    expect(resourceOf(pulse, columns)).toEqual({
      resourceType: 'Observation',
      identifier: identifierOf('pulse'),
      ...vital,
      code: loinc('8867-4', 'Heart rate'),
      effectiveDateTime: '2024-01-15T10:36:00-05:00',
      valueQuantity: { value: 88, unit: 'beats/minute', system: 'http://unitsofmeasure.org', code: '/min' },
      bodySite: snomed('80891009', 'Heart structure', 'heart'),
      method: snomed('37931006', 'Auscultation', 'auscultation'),
      interpretation: [snomed('61086009', 'Pulse irregular', 'irregular')],
      note: [{ text: 'AF' }],
    });
  });

  it('without a rate says that it is unknown', () => {
    expect(resourceOf(pulse, {})).toMatchObject({ dataAbsentReason: UNKNOWN });
  });
});

describe('every row', () => {
  const ALL = [encounter, bloodPressure, pulse];

  it.each(ALL.map((mapping) => [mapping.table, mapping] as const))(
    'of %s, when deleted, is withdrawn and otherwise as it was',
    (_, mapping) => {
      expect(resourceOf(mapping, {}, 'us-core', true)).toEqual({
        ...resourceOf(mapping, {}, 'us-core'),
        status: 'entered-in-error',
      });
    },
  );

  it.each(ALL.map((mapping) => [mapping.table, mapping] as const))(
    'of %s that was gone when it was emitted is refused',
    (_, mapping) => {
      const [identifier] = identifierOf(mapping.table);
      expect(mapping.map({ fhir_identifier: identifier }, 'r4', true)).toEqual({
        ok: false,
        reason: 'The row is gone, and its last state was not kept.',
        identifier,
      });
    },
  );

  it.each(ALL.map((mapping) => [mapping.table, mapping] as const))(
    'of %s is the same bytes whatever columns the application adds',
    (_, mapping) => {
      const more = { zz_new: { any: ['thing'] }, status: 'of the application', resourceType: 'Patient' };
      expect(JSON.stringify(resourceOf(mapping, more))).toBe(JSON.stringify(resourceOf(mapping, {})));
    },
  );

  it('refers to its patient, and a reading to its form if it has one', () => {
    expect(mapped(encounter, {})).toMatchObject({ references: [{ element: 'subject', table: 'patient', id: 3 }] });
    expect(mapped(pulse, {})).toMatchObject({ references: [{ element: 'subject', table: 'patient', id: 3 }] });
    expect(mapped(pulse, { form_id: 9 })).toMatchObject({
      references: [
        { element: 'subject', table: 'patient', id: 3 },
        { element: 'encounter', table: 'form', id: 9 },
      ],
    });
  });

  it.each([
    [
      'a moment without end',
      encounter,
      { encounter_date: 'infinity' },
      'encounter_date is no moment that FHIR can hold (years 1 to 9999, with a time zone).',
    ],
    [
      'a moment before Christ',
      pulse,
      { measurement_time: '0044-03-15T12:00:00+00:00 BC' },
      'measurement_time is no moment that FHIR can hold (years 1 to 9999, with a time zone).',
    ],
    [
      'a moment of a column without time zone',
      pulse,
      { measurement_time: '2024-01-15T10:36:00' },
      'measurement_time is no moment that FHIR can hold (years 1 to 9999, with a time zone).',
    ],
    // numeric writes it as a text.
    ['NaN', pulse, { rate: 'NaN' }, 'rate is no number that FHIR can hold.'],
    ['a number for a text', bloodPressure, { comment: 5 }, 'comment is no text.'],
    ['an object for a text', bloodPressure, { comment: { length: { toString: 1 } } }, 'comment is no text.'],
    ['half an id of a patient', pulse, { patient_id: 1.5 }, 'patient_id is no id of a row.'],
    ['an endless id of a form', pulse, { form_id: 1e300 }, 'form_id is no id of a row.'],
    [
      'a text of more than a megabyte',
      bloodPressure,
      { comment: 'x'.repeat(1024 * 1024 + 1) },
      'comment is longer than the 1,048,576 characters that a FHIR string may have.',
    ],
  ] as const)('with %s is refused, by its column and not its content', (_, mapping, columns, reason) => {
    // Whose it is is known all the same: it may have to be withdrawn.
    expect(mapped(mapping, columns)).toEqual({ ok: false, reason, identifier: identifierOf(mapping.table)[0] });
  });
});

it.each([{ system: 'urn:with space', value: 'pulse/7' }, { system: 'urn:x', value: ' ' }, { value: 'pulse/7' }])(
  'a row whose fhir_identifier is none that FHIR can hold is refused (%j)',
  (fhir_identifier) => {
    expect(mapped(pulse, { fhir_identifier })).toEqual({
      ok: false,
      reason: 'The outbox row has no fhir_identifier.',
    });
  },
);

describe('a moment', () => {
  it.each([
    '2024-01-15T10:36:00+00:00',
    '2024-01-15T10:36:00.123456-05:00',
    '0001-01-01T00:00:00+14:00',
    '9999-12-31T23:59:59.999999+05:45',
    '2016-12-31T23:59:60+00:00',
  ])('%s stays as it is, with its offset', (moment) => {
    expect(resourceOf(pulse, { measurement_time: moment })).toMatchObject({ effectiveDateTime: moment });
  });
});

const words = fc.oneof(
  fc.constantFrom(
    null,
    '',
    ' ',
    'sitting',
    'Standing',
    'left_arm',
    'RIGHT ARM',
    'regular',
    'palpation',
    'automatic',
    'radial',
  ),
  fc.string({ minLength: 1 }).filter((word) => word.trim() !== ''),
);
const numbers = fc.oneof(
  fc.constant(null),
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  fc.double({ min: -1e6, max: 1e6, noNaN: true }),
);
const ROWS: readonly [string, RowMapping, fc.Arbitrary<Columns>][] = [
  ['form', encounter, fc.record({ name: words })],
  [
    'blood_pressure',
    bloodPressure,
    fc.record({
      systolic_pressure: numbers,
      diastolic_pressure: numbers,
      position: words,
      location: words,
      comment: words,
    }),
  ],
  ['pulse', pulse, fc.record({ rate: numbers, regularity: words, method: words, body_site: words, comment: words })],
];

describe.each(PROFILES)('FHIR_PROFILE=%s', (profile) => {
  it.each(ROWS)('makes of any row of %s a valid resource, and the same bytes each time', (_, mapping, rows) => {
    fc.assert(
      fc.property(rows, (columns) => {
        const resource = sent(mapping, columns, profile);
        expect(problemsOfRecord(resource)).toEqual([]);
        expect(JSON.stringify(sent(mapping, columns, profile))).toBe(JSON.stringify(resource));
      }),
      { numRuns: 60 },
    );
  });

  it('numbers are decimals as PostgreSQL wrote them, up to fifteen digits', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -999_999_999, max: 999_999_999 }),
        fc.integer({ min: 0, max: 6 }),
        (digits, places) => {
          const written = (digits / 10 ** places).toFixed(places);
          const payload = JSON.parse(`{"rate":${written}}`) as Columns;
          const value = JSON.stringify(resourceOf(pulse, payload, profile));
          expect(value).toContain(`"valueQuantity":{"value":${Number(written)},`);
        },
      ),
    );
  });
});

describe('the validators', () => {
  it.each([
    ['a pressure without its category', bloodPressure, { category: undefined }],
    ['a reading without its time', pulse, { effectiveDateTime: undefined }],
    ['a reading of nobody', pulse, { subject: undefined }],
    [
      'a pressure in other units',
      bloodPressure,
      { component: [{ code: loinc('8480-6', ''), valueQuantity: { value: 1, code: 'kPa' } }] },
    ],
    ['an Encounter without a status', encounter, { status: undefined }],
  ] as const)('see %s', (_, mapping, wrong) => {
    const resource = JSON.parse(
      JSON.stringify({ ...sent(mapping, { systolic_pressure: 120, rate: 60 }, 'r4'), ...wrong }),
    ) as Resource;
    expect(problemsOfRecord(resource)).not.toEqual([]);
  });
});
