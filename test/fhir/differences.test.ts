// Differences are named by elements; what servers add, and the order of members, is none.
import { describe, expect, it } from 'vitest';
import { differences } from '../../src/fhir/model/differences.ts';

const ours = {
  resourceType: 'Patient',
  identifier: [{ system: 'urn:mrn', value: '7' }],
  active: true,
  name: [{ text: 'Jane Doe', family: 'Doe', given: ['Jane'] }],
  telecom: [{ system: 'phone', value: '1' }],
};

describe('the differences between two resources', () => {
  it('are none when only id, meta, narrative and the order of members differ', () => {
    const { active, ...rest } = ours;
    const theirs = { active, ...rest, id: '9', meta: { versionId: '3' }, text: { status: 'generated' } };
    expect(differences(ours, theirs)).toEqual([]);
  });

  it('are none when the server drops, or adds to, the profiles that we claim', () => {
    const claiming = { ...ours, meta: { profile: ['urn:ours'] } };
    expect(differences(claiming, ours)).toEqual([]);
    expect(differences(claiming, { ...ours, meta: { profile: ['urn:ours', 'urn:theirs'] } })).toEqual([]);
  });

  it.each([
    [{ ...ours, active: false }, ['active']],
    [{ ...ours, name: [{ text: 'Jane Doe', family: 'Roe', given: ['Jane'] }] }, ['name.family']],
    [{ ...ours, name: [...ours.name, { family: 'Roe' }] }, ['name']],
    [{ ...ours, name: [{ text: 'Jane Doe', family: 'Doe', given: ['Jane', 'Ann'] }] }, ['name.given']],
    [{ ...ours, telecom: undefined, gender: 'male' }, ['gender', 'telecom']],
    [{ ...ours, telecom: { system: 'phone', value: '1' } }, ['telecom']],
    [{ ...ours, identifier: [null] }, ['identifier']],
    [{ ...ours, resourceType: 'Person' }, ['resourceType']],
    [{ ...ours, _birthDate: { extension: [] } }, ['_birthDate']],
  ])('are the names of elements: %j', (theirs, names) => {
    expect(differences(ours, theirs)).toEqual(names);
  });

  it.each([
    ['2024-01-15T10:30:00-05:00', '2024-01-15T15:30:00+00:00', []],
    ['2024-01-15T10:30:00.123456-05:00', '2024-01-15T15:30:00.123Z', []],
    ['2024-01-15T10:30:00-05:00', '2024-01-15T10:30:00Z', ['effectiveDateTime']],
    ['2024-01-15', '2024-01-15T00:00:00Z', ['effectiveDateTime']],
  ])('compare moments, and not how they are written: %s and %s', (one, other, names) => {
    expect(differences({ effectiveDateTime: one }, { effectiveDateTime: other })).toEqual(names);
  });

  it('never repeat a name that is no element’s: it may be anything', () => {
    expect(differences(ours, { ...ours, Jane: 1, telecom: [{ ...ours.telecom[0], JaneDoe: 1 }] })).toEqual([
      '(unknown)',
      'telecom.(unknown)',
    ]);
    expect(differences(ours, { ...ours, maritalStatus: 1, contact: 2 })).toEqual(['contact', 'maritalStatus']);
    expect(differences(ours, { ...ours, 'Jane Doe, 1990': 1, name: [{ ...ours.name[0], '\u001b[31m': 2 }] })).toEqual([
      '(unknown)',
      'name.(unknown)',
    ]);
  });
});
