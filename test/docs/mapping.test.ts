// docs/mapping.md is made by mapping: what each column becomes, what US Core adds, and what does not stay as it is.
// After a change of the code: npm run snapshots

import { expect, test } from 'vitest';
import type { Profile } from '../../src/fhir/mapping/mapped-resource.ts';
import { patient } from '../../src/fhir/mapping/patient.ts';
import { MAX_FHIR_STRING } from '../../src/fhir/model/primitives.ts';
import { payloadOf } from '../fhir/payloads.ts';
import { blocksOf, pathOf, read, table, withGenerated } from './document.ts';
import { leavesOf } from './leaves.ts';

const PAGE = 'docs/mapping.md';

type Columns = Readonly<Record<string, unknown>>;
type Elements = Readonly<Record<string, unknown>>;

const map = (columns: Columns, profile: Profile = 'r4') => patient.map(payloadOf(columns), profile, false);

function elementsOf(columns: Columns, profile: Profile = 'r4'): Elements {
  const mapped = map(columns, profile);
  if (!mapped.ok) throw new Error(mapped.reason);
  return { ...mapped.resource };
}

const BARE = elementsOf({});
const BARE_LEAVES = new Set(leavesOf(BARE).map((leaf) => JSON.stringify(leaf)));

/** Where the values of these columns go. */
function pathsOf(columns: Columns): string[] {
  const added = leavesOf(elementsOf(columns)).filter((leaf) => !BARE_LEAVES.has(JSON.stringify(leaf)));
  return [...new Set(added.map(([path]) => path))];
}

const pick = (elements: Elements, names: readonly string[]): Elements =>
  Object.fromEntries(Object.entries(elements).filter(([name]) => names.includes(name)));

const code = (text: string) => `\`${text}\``;
const json = (elements: Elements) => (Object.keys(elements).length === 0 ? 'nothing' : code(JSON.stringify(elements)));

/** One value for each column, which shows where it goes. */
const EXAMPLES: Columns = {
  active: false,
  deceased: true,
  birth_date: '1990-01-15',
  gender: 'F',
  name_family: 'van der Berg',
  name_given: 'Mary Ann',
  name_text: 'Dr. M. A. van der Berg',
  identifier_system: 'urn:oid:1.2.36.146',
  identifier_value: '943 476 5919',
  phone_number: '+1-555-123-4567',
  email: 'mary@example.com',
  address_line: 'Flat 3\n12 High Street',
  address_city: 'Boston',
  address_state: 'MA',
  address_postal_code: '02101',
  address_country: 'USA',
  other_identifiers: [{ identifier_system: 'urn:insurance', identifier_value: 'INS-9' }],
};

/** The elements of the resource that a column goes into. */
const elementsFor = (column: string) =>
  pathsOf({ [column]: EXAMPLES[column] }).map((path) => path.split('.', 1)[0] ?? '');

function columns(): string {
  const rows = Object.entries(patient.columns.shape).map(([column, { description = '' }]) => {
    const value = EXAMPLES[column];
    expect(value, `${column} has no example: add one to EXAMPLES in this file.`).not.toBe(undefined);
    const paths = pathsOf({ [column]: value });
    expect(paths, column).not.toEqual([]);
    expect(description, column).not.toBe('');
    const example = json(pick(elementsOf({ [column]: value }), elementsFor(column)));
    return [code(column), paths.map(code).join(', '), description, `${code(JSON.stringify(value))} → ${example}`];
  });
  return table(['Column', 'Element', 'Rule', 'Example'], rows);
}

/** A row, the elements that are other ones in US Core, and why. */
const DIFFERENCES: readonly [string, Columns, readonly string[], string][] = [
  [
    'anything',
    { name_family: 'Smith' },
    ['meta', 'identifier'],
    'the claim, by which clients search (`_profile`) and servers validate; the type by which people and systems tell a medical record number from other numbers. Of the other identifiers nobody here knows the type',
  ],
  [
    'neither `name_family` nor `name_given`',
    {},
    ['name'],
    'a name is demanded, and of a name family or given, or the reason why there is neither (us-core-6, earlier us-core-8)',
  ],
  ['only `name_text`', { name_text: 'Unknown female, ward 3' }, ['name'], 'as before; the text stays'],
  [
    'no `identifier_system`',
    { name_family: 'Smith', identifier_system: null },
    ['identifier'],
    'a system is demanded, or the reason why there is none. A search for `|value` finds the identifier as before: the system has no value',
  ],
];

function profiles(): string {
  const rows = DIFFERENCES.map(([row, columns, names, why]) => {
    const [r4, usCore] = [elementsOf(columns), elementsOf(columns, 'us-core')];
    // These are all, but for what every row has.
    const others = Object.keys(usCore).filter((name) => ![...names, 'meta', 'identifier'].includes(name));
    expect(pick(usCore, others)).toEqual(pick(r4, others));
    return [row, json(pick(r4, names)), json(pick(usCore, names)), why];
  });
  return table(['The row has', '`r4`', '`us-core`', 'Because'], rows);
}

const DUPLICATES = [
  { identifier_system: 'https://hospital.example.com/mrn', identifier_value: 'MRN-1' },
  { identifier_system: 'urn:insurance', identifier_value: null },
];

/** What does not stay as it is, and some of what one might expect to change. */
const NORMALISATIONS: readonly [string, Columns][] = [
  ['blank text', { name_family: ' \t' }],
  ['white space around a text', { name_family: ' Smith ' }],
  ['a control character other than tab and line breaks, or half of a surrogate pair', { name_family: 'Smi\u0007th' }],
  ['decomposed letters', { name_family: 'Mu\u0308ller' }],
  ['white space around and between given names', { name_given: ' Mary  Ann\n' }],
  ['blank lines of an address', { address_line: 'Flat 3\r\n\n 12 High Street\n' }],
  ['a year, or a month, of birth', { birth_date: '1990-07' }],
  ['white space around a date', { birth_date: ' 1990-07-01 ' }],
  ['a day that there is not', { birth_date: '1990-02-30' }],
  ["a date of PostgreSQL's that is none of the calendar", { birth_date: 'infinity' }],
  ['a year before the year 1', { birth_date: '0044-03-15 BC' }],
  ['a gender that FHIR has no code for', { gender: 'diverse' }],
  ['a patient that is not known to have died', { deceased: false }],
  ['white space around an identifier', { identifier_value: ' 7 ' }],
  ['an empty identifier', { identifier_value: ' ' }],
  ['a control character in an identifier', { identifier_value: '7\u0000' }],
  ['white space in an identifier system', { identifier_system: 'hospital mrn' }],
  ['an identifier system that is no URI', { identifier_system: 'mrn' }],
  ['other identifiers that are the primary one, or empty', { other_identifiers: DUPLICATES }],
];

function normalisations(): string {
  const rows = NORMALISATIONS.map(([what, columns]) => {
    const mapped = map(columns);
    const names = Object.keys(columns).flatMap(elementsFor);
    const becomes = mapped.ok ? json(pick({ ...mapped.resource }, names)) : `refused: ${mapped.reason}`;
    return [what, code(JSON.stringify(columns)), becomes];
  });
  const tooLong = map({ email: 'x'.repeat(MAX_FHIR_STRING + 1) });
  rows.push(['a text longer than a FHIR string may be', code('email'), `refused: ${!tooLong.ok && tooLong.reason}`]);
  return table(['What', 'Columns', 'Sent'], rows);
}

test('the page shows what becomes of each column, under either profile', async () => {
  const page = withGenerated(PAGE, { columns: columns(), profiles: profiles(), normalisations: normalisations() });
  await expect(page).toMatchFileSnapshot(pathOf(PAGE));
});

test.each([
  ['us-core', 1],
  ['r4', 2],
] as const)('the page shows a patient before and after, for %s', (profile, index) => {
  const [payload = '', ...resources] = blocksOf(read(PAGE), 'json');
  const mapped = patient.map(JSON.parse(payload), profile, false);
  // The same elements in the same order: a repeat is the same bytes.
  expect(JSON.stringify(mapped.ok && mapped.resource)).toBe(JSON.stringify(JSON.parse(resources[index - 1] ?? '')));
});
