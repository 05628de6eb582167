// docs/architecture.md names folders, classes and functions that exist, and its arrows go from who calls to what is called.

import { globSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';
import { definedFunctions } from './defined-functions.ts';
import { blocksOf, pathOf, read, rowsOf, sectionOf } from './document.ts';

const PAGE = 'docs/architecture.md';
const sources = new Map(globSync('src/**/*.ts').map((file) => [normalize(file), readFileSync(file, 'utf8')]));

/** They hand to a folder what it calls without importing it. */
const JOINING = ['src/outbox/engine.ts', 'src/replication/slot/tenure.ts'];

interface Named {
  /** `deliveriesOf`, or `Scheduler.prepare`. */
  readonly name: string;
  readonly owner: string | undefined;
  readonly called: string;
}

interface Hop {
  readonly from: string;
  readonly to: string;
  readonly text: string;
  readonly names: readonly Named[];
}

const [diagram = ''] = blocksOf(sectionOf(PAGE, 'The hops of a transaction'), 'mermaid');
const participants = new Map(
  [...diagram.matchAll(/participant (\w+) as (.+)/g)].map(([, letter = '', label = '']) => [letter, label]),
);
const hops: Hop[] = [...diagram.matchAll(/^ *(\w+)->>(\w+): (.+)$/gm)].map(([, from = '', to = '', text = '']) => ({
  from: participants.get(from) ?? `no participant ${from}`,
  to: participants.get(to) ?? `no participant ${to}`,
  text,
  names: [...text.matchAll(/(?:([A-Z]\w*)\.)?(\w+)\(\)/g)].map(([name, owner, called = '']) => {
    return { name: name.slice(0, -2), owner, called };
  }),
}));

/** The files of a folder, of one file, or of none where the participant is no part of the program. */
function filesOf(place: string): string[] {
  return [...sources.keys()].filter((file) => file === `src/${place}` || file.startsWith(`src/${place}/`));
}

function declares(file: string, { owner, called }: Named): boolean {
  const text = sources.get(file) ?? '';
  if (owner === undefined) return new RegExp(`^export (?:async )?function\\*? ${called}\\b`, 'm').test(text);
  const [, body = ''] = text.split(new RegExp(`^export (?:class|interface) ${owner}\\b.*$`, 'm'));
  // Of the class itself: it ends with the first brace at a line's start.
  return new RegExp(`^ {2}(?:static )?(?:async )?(?:get )?\\*?${called}[(<]`, 'm').test(body.split(/^}/m)[0] ?? '');
}

function importedBy(file: string): string[] {
  const [text, folder] = [sources.get(file) ?? '', dirname(file)];
  return [...text.matchAll(/ from '(\.[^']+)'/g)].map(([, path = '']) => normalize(join(folder, path)));
}

/** Imported as it is, by way of a file that hands it on, or given by one that joins the parts. */
function imports(caller: string, file: string): boolean {
  const direct = importedBy(caller);
  return direct.some(
    (between) =>
      between === file ||
      handsOn(between).includes(file) ||
      (JOINING.includes(between) && importedBy(between).includes(file)),
  );
}

function handsOn(file: string): string[] {
  return [...(sources.get(file) ?? '').matchAll(/^export .* from '(\.[^']+)'/gm)].map(([, path = '']) =>
    normalize(join(dirname(file), path)),
  );
}

function calls(caller: string, { owner, called }: Named): boolean {
  const call = owner === undefined ? `(?<!function )\\b${called}\\(` : `\\.${called}\\(`;
  return new RegExp(call).test(sources.get(caller) ?? '');
}

test('the page fits on a few screens', () => {
  expect(read(PAGE).trimEnd().split('\n').length).toBeLessThanOrEqual(120);
});

describe('the folders', () => {
  const rows = rowsOf(sectionOf(PAGE, 'One way')).map(([folders = '', holds = '']) => ({
    row: folders,
    folders: quoted(folders),
    holds: quoted(holds),
  }));

  test('are all folders of src, each once', () => {
    const onDisk = readdirSync('src', { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(rows.flatMap(({ folders }) => folders).toSorted()).toEqual(onDisk.map(({ name }) => name).toSorted());
  });

  test.each(rows)('within $row', ({ folders, holds }) => {
    const within = folders.flatMap((folder) => readdirSync(join('src', folder), { withFileTypes: true }));
    const subfolders = within.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    expect(holds.filter((name) => !/[./]/.test(name)).toSorted()).toEqual(subfolders.toSorted());
    const files = holds.filter((name) => name.endsWith('.ts'));
    expect(within.map(({ name }) => name)).toEqual(expect.arrayContaining(files));
  });

  test('have these files beside them', () => {
    const [, beside = ''] = sectionOf(PAGE, 'One way').split('Beside them ');
    const named = quoted(beside).filter((name) => name.endsWith('.ts') && !name.includes('/'));
    expect(named.toSorted()).toEqual(readdirSync('src').filter((name) => name.endsWith('.ts')));
  });
});

test('the classes and functions in the boxes are in the folder above them', () => {
  const [boxes = ''] = blocksOf(sectionOf(PAGE, 'One way'), 'mermaid');
  const named = [...boxes.matchAll(/\["([\w/]+)<br\/>([\w, ]+)"\]/g)].flatMap(([, folder = '', names = '']) =>
    names.split(', ').map((name) => ({ folder, name })),
  );
  expect(named.length).toBeGreaterThan(8);
  for (const { folder, name } of named) {
    const declared = filesOf(folder).some((file) =>
      new RegExp(`^export (?:class|function) ${name}\\b`, 'm').test(sources.get(file) ?? ''),
    );
    expect(declared, `${folder} has ${name}`).toBe(true);
  }
});

describe('the hops', () => {
  const inSource = hops.filter(({ to }) => filesOf(to).length > 0);

  test('are there, between participants that exist', () => {
    expect(hops.length).toBeGreaterThan(20);
    const places = [...participants.values()].filter((place) => filesOf(place).length > 0);
    expect([...participants.values()].filter((place) => !places.includes(place))).toEqual([
      'application',
      'PostgreSQL',
    ]);
  });

  test.each(inSource.flatMap(({ from, to, names }) => names.map((named) => ({ ...named, from, to, named }))))(
    '$from → $to: $name',
    ({ from, to, named }) => {
      const [declaring] = [...filesOf(to), ...filesOf(from)].filter((file) => declares(file, named));
      expect(declaring, `${to} (or ${from}) declares ${named.name}`).toBeDefined();
      if (declaring === undefined) return;
      const isOfReceiver = filesOf(to).includes(declaring);
      // What PostgreSQL sends is read by the receiver itself, and a folder calls its own helpers.
      const callers = isOfReceiver && filesOf(from).length > 0 ? filesOf(from) : [...filesOf(from), ...filesOf(to)];
      const calling = [...callers, ...JOINING].filter(
        (file) => calls(file, named) && (file === declaring || imports(file, declaring)),
      );
      expect(calling, `a file of ${from} calls ${named.name}`).not.toEqual([]);
    },
  );

  test('of the triggers are functions that the last migration which has them defines, the first calling the second', () => {
    const [[first, second] = []] = hops.filter(({ to }) => to === 'PostgreSQL').map(({ names }) => names);
    const file = definedFunctions().find(({ name }) => name === first?.called)?.file;
    const [, body] = read(`sql/migrations/${file}`).split(`FUNCTION public.${first?.called}(`);
    expect(body).toContain(`public.${second?.called}(`);
  });
});

test('files that the page names exist', () => {
  const named = [...read(PAGE).matchAll(/`((?:src|test|sql)\/[\w./-]+)`/g)].map(([, path = '']) => path);
  expect(named.filter((path) => globSync(path, { cwd: pathOf('') }).length === 0)).toEqual([]);
});

function quoted(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
}
