// docs/testing.md and CONTRIBUTING.md name files, scripts, projects, variables and surfaces that exist.

import { globSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { FAULTS } from '../chaos/faults.ts';
import { SURFACES } from '../fuzz/surfaces.ts';
import { pathOf, read, rowsOf, sectionOf } from './document.ts';

const PAGE = 'docs/testing.md';
const PAGES = [PAGE, 'CONTRIBUTING.md'];
const FOLDERS = 'src|test|demo|bench|sql|grafana|docs|kubernetes|supply-chain|compose|\\.github';

/** Of our own code: who reads a variable of the environment. */
const code = globSync(['test/**/*.ts', 'bench/**/*.ts', 'demo/**/*.ts'], { exclude: ['test/postgres-versions/**'] })
  .map((file) => readFileSync(file, 'utf8'))
  .join('\n');

describe.each(PAGES)('%s', (page) => {
  const text = read(page);

  test('names files and folders that exist', () => {
    const named = matches(text, new RegExp(`\`((?:${FOLDERS})(?:/[^\`\\s]*)?)[^\`]*\``, 'g'));
    expect(named.length).toBeGreaterThan(5);
    expect(named.filter((path) => globSync(path, { cwd: pathOf('') }).length === 0)).toEqual([]);
  });

  test('names scripts that package.json has', () => {
    const named = matches(text, /npm run ([\w:]+)/g);
    expect(named.filter((script) => !(script in packageJson.scripts))).toEqual([]);
  });
});

test('each project of vitest is in the table, and no other', () => {
  const projects = matches(read('vitest.config.ts'), /^ {10}name: '([\w-]+)'/gm);
  const named = rowsOf(sectionOf(PAGE, 'Which tests there are')).map(([project = '']) => project.replaceAll('`', ''));
  expect(named).toEqual(projects);
});

test('the variables are read', () => {
  const variables = matches(read(PAGE), /`([A-Z][A-Z_]{5,})(?:=\w+)?`/g);
  expect(variables.length).toBeGreaterThan(8);
  const unread = new Set(variables.filter((name) => !new RegExp(`\\b${name}\\b`).test(code)));
  // Of the connector itself.
  unread.delete('FHIR_UPDATE');
  expect([...unread]).toEqual([]);
});

test('the surfaces of the fuzz and the kind of chaos that it names are there', () => {
  const [, listed = ''] = /surface\s+\(([\w,\s-]+)\)/.exec(read(PAGE)) ?? [];
  expect(listed.split(/,\s+/).toSorted()).toEqual(SURFACES.map(({ name }) => name).toSorted());
  const kinds = matches(sectionOf(PAGE, 'Chaos'), /--only "([^"]+)"/g);
  expect(kinds.filter((kind) => !(kind in FAULTS))).toEqual([]);
  expect(kinds).not.toEqual([]);
});

function matches(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, found = '']) => found);
}
