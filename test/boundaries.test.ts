// The shape of the program: which folder may know which, read from the imports themselves.
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';

interface Import {
  /** Relative to the repository, with slashes. */
  readonly from: string;
  /** The file imported, or the package's name with its subpath. */
  readonly to: string;
  /** Nothing of it exists at run time. */
  readonly typesOnly: boolean;
}

// `import … from`, `export … from`, `import '…'` and `import('…')`; the formatter puts each statement at a line's start.
const STATEMENT = /^(?:import|export)\s+(type\s+)?(?:([\w*{}\s,$]+?)\s+from\s+)?'([^']+)'|\bimport\('([^']+)'\)/gm;

function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(STATEMENT)].map(([, type, names, statement, dynamic]) => {
    const target = statement ?? dynamic ?? '';
    const to = target.startsWith('.') ? normalize(join(dirname(file), target)) : target;
    const inBraces = names?.match(/^\{([^}]*)\}$/)?.[1]?.split(',') ?? [];
    const named = inBraces.map((name) => name.trim()).filter((name) => name !== '');
    const typesOnly = type !== undefined || (named.length > 0 && named.every((name) => name.startsWith('type ')));
    return { from: file, to, typesOnly };
  });
}

const files = globSync('src/**/*.ts').map(normalize).toSorted();
const imports = files.flatMap(importsOf);

/** `src/outbox/lanes/lanes.ts` → `outbox`; a file directly in src is its own folder. */
function folderOf(file: string): string {
  return file.split('/').slice(1)[0] ?? '';
}

const FOLDERS = ['replication', 'outbox', 'fhir', 'metrics'];

/** The folders within a folder, as docs/architecture.md has them: each knows those behind it, and none before it. */
const WITHIN = {
  replication: ['slot', 'acknowledgement', 'stream', 'server'],
  outbox: ['engine.ts', 'upkeep', 'operator', 'catch-up', 'lanes', 'courier', 'writer', 'tables', 'delivery'],
  fhir: ['client', 'authorization', 'http', 'faults', 'mapping', 'model'],
};

function between(from: string, to: readonly string[], typesToo = true): string[] {
  return imports
    .filter((each) => folderOf(each.from) === from && each.to.startsWith('src/') && to.includes(folderOf(each.to)))
    .filter((each) => typesToo || !each.typesOnly)
    .map((each) => `${each.from} → ${each.to}`);
}

function importersOf(name: string): string[] {
  const from = imports.filter(({ to }) => to === name || to.startsWith(`${name}/`)).map((each) => each.from);
  return [...new Set(from)];
}

describe('the imports of src', () => {
  it('are read by this test: as many as there are import and export statements with a source', () => {
    const mentioned = files.flatMap(
      (file) => readFileSync(file, 'utf8').match(/\bfrom '[^']+'|^import '|\bimport\('/gm) ?? [],
    );
    expect(files.length).toBeGreaterThan(40);
    expect(imports.length).toBe(mentioned.length);
  });

  it('name files that exist, with their extensions', () => {
    const missing = imports.filter(({ to }) => to.startsWith('src/') && !files.includes(to));
    expect(missing).toEqual([]);
  });

  it('form no circle', () => {
    const circles: string[][] = [];
    const done = new Set<string>();
    const visit = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file]);
      if (path.includes(file) || done.has(file)) return;
      for (const { to } of imports.filter(({ from }) => from === file)) visit(to, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(circles).toEqual([]);
  });
});

describe('the folders of src', () => {
  it('replication knows neither the outbox nor FHIR nor metrics', () => {
    expect(between('replication', ['outbox', 'fhir', 'metrics'])).toEqual([]);
  });

  it('fhir knows neither the slot nor the outbox nor metrics', () => {
    expect(between('fhir', ['replication', 'outbox', 'metrics'])).toEqual([]);
  });

  it('metrics knows no other', () => {
    expect(between('metrics', ['replication', 'outbox', 'fhir'])).toEqual([]);
  });

  it('outbox takes types from replication and metrics, and nothing that runs', () => {
    expect(between('outbox', ['replication', 'metrics'], false)).toEqual([]);
    expect(between('outbox', ['replication']).length).toBeGreaterThan(0);
  });

  it('verify compares by what outbox and fhir offer, and only cli knows it', () => {
    expect(between('verify', ['replication', 'cli', 'pipeline.ts', 'main.ts', 'config'])).toEqual([]);
    expect(between('verify', ['metrics'], false)).toEqual([]);
    expect(between('verify', ['outbox', 'fhir']).length).toBeGreaterThan(0);
    const users = imports.filter(({ to }) => to.startsWith('src/verify/')).map(({ from }) => folderOf(from));
    expect(new Set(users)).toEqual(new Set(['cli', 'verify']));
  });

  it('know nothing of the files that join them', () => {
    const joining = ['cli', 'pipeline.ts', 'server-session.ts', 'main.ts', 'config'];
    expect(FOLDERS.flatMap((folder) => between(folder, joining))).toEqual([]);
  });

  it('are joined only by pipeline, server-session, cli and main', () => {
    const joining = files.filter((file) => {
      const known = imports.filter(({ from, typesOnly }) => from === file && !typesOnly).map(({ to }) => to);
      const folders = new Set(known.filter((to) => to.startsWith('src/')).map(folderOf));
      folders.add(folderOf(file));
      return (
        FOLDERS.filter((folder) => folders.has(folder)).length > 1 && !['outbox', 'verify'].includes(folderOf(file))
      );
    });
    expect(joining.filter((file) => !/^src\/(pipeline\.ts|server-session\.ts|main\.ts|cli\/.*)$/.test(file))).toEqual(
      [],
    );
    expect(joining).toContain('src/pipeline.ts');
  });
});

describe.each(Object.entries(WITHIN))('the folders of %s', (folder, order) => {
  const placeOf = (file: string) => order.indexOf(file.split('/')[2] ?? '');

  it('are those', () => {
    const found = files.filter((file) => folderOf(file) === folder).map((file) => file.split('/')[2]);
    expect(new Set(found)).toEqual(new Set(order));
  });

  it('know only what is behind them', () => {
    const backwards = imports
      .filter(({ from, to }) => folderOf(from) === folder && to.startsWith(`src/${folder}/`))
      .filter(({ from, to }) => placeOf(to) < placeOf(from))
      .map(({ from, to }) => `${from} → ${to}`);
    expect(backwards).toEqual([]);
  });
});

describe('the packages', () => {
  it('pg-logical-replication is known to one file', () => {
    expect(importersOf('pg-logical-replication')).toEqual(['src/replication/stream/connection.ts']);
  });

  it('undici is known to fhir only', () => {
    const importers = importersOf('undici');
    expect(importers.length).toBeGreaterThan(0);
    expect(importers.filter((file) => folderOf(file) !== 'fhir')).toEqual([]);
  });

  it('OpenTelemetry is known to one file of the outbox, and its SDK to the one that starts it', () => {
    const importers = importersOf('@opentelemetry');
    expect(importers.toSorted()).toEqual(['src/outbox/courier/delivery-trace.ts', 'src/telemetry.ts']);
  });

  it('prom-client is known to metrics only, and PostgreSQL is not known to fhir', () => {
    expect(importersOf('prom-client').filter((file) => folderOf(file) !== 'metrics')).toEqual([]);
    expect([...importersOf('pg'), ...importersOf('kysely')].filter((file) => folderOf(file) === 'fhir')).toEqual([]);
  });
});
