// docs/design.md shows the mapping as it is: every column, and one patient before and after.

import { describe, expect, test } from 'vitest';
import { mapPatient, patientPayload } from '../../src/fhir/patient-mapper.ts';
import { blocksOf, rowsOf, sectionOf } from './document.ts';

describe('the mapping in docs/design.md', () => {
  const section = sectionOf('docs/design.md', 'Mapping');

  test('has a row for each column that is read', () => {
    const columns = rowsOf(section).flatMap(([column = '']) => column.match(/\w+(?:\.\w+)?/g) ?? []);
    const { other_identifiers: _, ...own } = patientPayload.shape;
    const others = ['identifier_system', 'identifier_value'].map((name) => `other_identifiers.${name}`);
    expect(columns.toSorted()).toEqual([...Object.keys(own), ...others].toSorted());
  });

  test('shows what becomes of a patient', () => {
    const [payload = '', resource = ''] = blocksOf(section, 'json');
    const mapped = mapPatient(patientPayload.parse(JSON.parse(payload)));
    expect(mapped).toMatchObject({ ok: true, resource: JSON.parse(resource) });
    // The same elements in the same order: a repeat is the same bytes.
    expect(JSON.stringify(mapped.ok && mapped.resource)).toBe(JSON.stringify(JSON.parse(resource)));
  });
});
