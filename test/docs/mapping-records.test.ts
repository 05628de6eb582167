// docs/mapping.md, the part of the forms and readings: made by mapping.
// After a change of the code: npm run snapshots
import { expect, test } from 'vitest';
import { ARMS, BODY_POSITIONS, PULSE_METHODS, PULSE_SITES, RHYTHMS } from '../../src/fhir/mapping/codes.ts';
import type { RowMapping } from '../../src/fhir/mapping/row-mapping.ts';
import { ROW_MAPPINGS } from '../../src/fhir/mapping/tables.ts';
import { recordPayload } from '../fhir/records.ts';
import { pathOf, table, withGenerated } from './document.ts';
import { leavesOf } from './leaves.ts';

const PAGE = 'docs/mapping.md';

/** One value for each column, which shows where it goes. */
const EXAMPLES: Readonly<Record<string, unknown>> = {
  name: 'Annual Physical',
  encounter_date: '2024-03-01T09:00:00-05:00',
  systolic_pressure: 120,
  diastolic_pressure: 80,
  measurement_time: '2024-03-01T09:05:00-05:00',
  position: 'sitting',
  location: 'left_arm',
  comment: 'after rest',
  rate: 72,
  regularity: 'regular',
  method: 'palpation',
  body_site: 'radial',
};

/** Of a data type, which say nothing more of where the column goes. */
const PARTS = /(\.coding|\.(url|system|code|display|text|value|unit))+$/;

const code = (text: string) => `\`${text}\``;

function resourceOf(mapping: RowMapping, columns: Readonly<Record<string, unknown>>): unknown {
  const mapped = mapping.map(recordPayload(mapping.table, columns), 'r4', false);
  if (!mapped.ok) throw new Error(mapped.reason);
  return mapped.resource;
}

function columnsOf(mapping: RowMapping): string {
  const bare = new Set(leavesOf(resourceOf(mapping, {})).map((leaf) => JSON.stringify(leaf)));
  const rows = Object.entries(mapping.columns.shape).map(([column, schema]) => {
    const value = EXAMPLES[column];
    const description = (schema as { description?: string }).description ?? '';
    expect(value, `${column} has no example: add one to EXAMPLES in this file.`).not.toBe(undefined);
    expect(description, column).not.toBe('');
    const added = leavesOf(resourceOf(mapping, { [column]: value })).filter((leaf) => !bare.has(JSON.stringify(leaf)));
    const paths = [...new Set(added.map(([path]) => path.replace(PARTS, '')))];
    expect(paths, column).not.toEqual([]);
    return [code(column), paths.map(code).join(', '), description];
  });
  const references = mapping.references.map(({ element, column, table: to }) => [
    code(column),
    code(`${element}.reference`),
    `The resource of that row of \`${to}\``,
  ]);
  return `### ${code(mapping.table)} → ${mapping.type}\n\n${table(['Column', 'Element', 'Rule'], [...rows, ...references])}`;
}

const WORDS = [
  ['position', BODY_POSITIONS],
  ['location', ARMS],
  ['regularity', RHYTHMS],
  ['method', PULSE_METHODS],
  ['body_site', PULSE_SITES],
] as const;

function codes(): string {
  const rows = WORDS.flatMap(([column, words]) =>
    Object.entries(words).map(([word, { system, code: value, display }]) => [
      code(column),
      code(word),
      `${value} ${display} (${system})`,
    ]),
  );
  return table(['Column', 'Word', 'Code'], rows);
}

/** The patient has tables of its own on the page. */
const RECORDS = ROW_MAPPINGS.filter(({ type }) => type !== 'Patient');

test('the page shows what becomes of each column of the forms and readings, and every code', async () => {
  const page = withGenerated(PAGE, { records: RECORDS.map(columnsOf).join('\n\n'), codes: codes() });
  await expect(page).toMatchFileSnapshot(pathOf(PAGE));
});
