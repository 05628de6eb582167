// Mutants of what a row becomes: the bugs that send a patient's data wrong, or not at all, and that no server refuses.
import type { Mutant } from './mutant.ts';

const MAPPER = 'src/fhir/mapping/patient.ts';
const TEST = 'test/fhir/patient-mapper.test.ts';
const GOLDEN = 'FHIR_PROFILE=us-core > each case of golden';

export const MAPPING: readonly Mutant[] = [
  {
    name: 'wrong-gender',
    harm: 'Women arrive as men.',
    edits: [{ file: MAPPER, find: "return 'female';", replace: "return 'male';" }],
    test: { file: TEST, title: `${GOLDEN}/unnamed.json > becomes what the file has: unnamed.json` },
  },
  {
    name: 'birth-date-by-way-of-a-date',
    harm: 'West of Greenwich everybody is a day older.',
    edits: [
      {
        file: MAPPER,
        find: '{ birthDate })',
        replace: "{ birthDate: new Date(birthDate).toLocaleDateString('sv') })",
      },
    ],
    test: { file: TEST, title: 'a date of birth > is the same day in America/Los_Angeles' },
  },
  {
    name: 'no-name-without-family',
    harm: 'Who has only given names arrives without any.',
    edits: [{ file: MAPPER, find: "if (whole === '')", replace: 'if (family === undefined)' }],
    test: { file: TEST, title: `${GOLDEN}/names.json > becomes what the file has: a mononym in name_given` },
  },
  {
    name: 'system-of-the-primary-identifier',
    harm: "An insurance number arrives as a medical record number, and may be somebody else's.",
    edits: [
      {
        file: MAPPER,
        find: 'found.identifiers.map(identifierElement)',
        replace: 'found.identifiers.map(({ value }) => identifierElement({ system: identifier.system, value }))',
      },
    ],
    test: {
      file: TEST,
      title: `${GOLDEN}/identifiers.json > becomes what the file has: other identifiers that are the primary one, or one another`,
    },
  },
  {
    name: 'identifiers-told-apart-by-value',
    harm: "An identifier is dropped when another one of the patient's has the same number.",
    edits: [{ file: 'src/fhir/model/token.ts', find: 'seen.add(tokenKey(token))', replace: 'seen.add(token.value)' }],
    test: {
      file: TEST,
      title: `${GOLDEN}/identifiers.json > becomes what the file has: other identifiers that differ in one thing only, in their order`,
    },
  },
];
