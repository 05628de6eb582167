// The table of variables in docs/configuration.md is the code's; the commands, variables and messages that the pages name exist.
// After a change of the code: npm run snapshots

import { globSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import packageJson from '../../package.json' with { type: 'json' };
import { environmentSchema } from '../../src/config/environment.ts';
import { SECRETS } from '../../src/config/read.ts';
import { runCommand } from '../support/command.ts';
import { isSaid, pages, pathOf, quotesIn, read, rowsOf, sectionOf, table, withGenerated } from './document.ts';

function configuration(): string {
  const rows = Object.entries(environmentSchema.shape).map(([name, schema]) => {
    const meaning = schema.description ?? '';
    const required = !schema.safeParse(undefined).success;
    const given = schema instanceof z.ZodDefault ? `\`${String(schema.def.defaultValue)}\`` : '';
    // Where it depends on the machine or on another variable, the meaning tells the default.
    return [`\`${name}\``, required ? '**required**' : / Default: /.test(meaning) ? '' : given, meaning];
  });
  return table(['Variable', 'Default', 'Meaning'], rows);
}

test('docs/configuration.md lists every variable with its default and meaning', async () => {
  const page = withGenerated('docs/configuration.md', { configuration: configuration() });
  await expect(page).toMatchFileSnapshot(pathOf('docs/configuration.md'));
});

describe('the pages', () => {
  const commands = new Set(Object.keys(packageJson.scripts));
  test.each(pages)('name npm scripts that exist: %s', (page) => {
    for (const [, name = ''] of read(page).matchAll(/\bnpm run (?:-s )?([\w:]+)/g))
      expect(commands, name).toContain(name);
  });

  // The connector's, or those of the compose file and of the tests.
  const variables = [
    ...Object.keys(environmentSchema.shape),
    ...SECRETS.map((name) => `${name}_FILE`),
    'NODE_EXTRA_CA_CERTS',
    'NODE_DEBUG',
    'NODE_OPTIONS',
    ...[...read('.env.example').matchAll(/^(\w+)=/gm)].map((match) => match[1] ?? ''),
    ...globSync('{test,demo,bench}/**/*.ts', { cwd: pathOf('.') }).flatMap((file) =>
      [...read(file).matchAll(/\benv\.([A-Z_]+)\b/g)].map((match) => match[1] ?? ''),
    ),
  ];
  test.each(pages)('name variables that exist: %s', (page) => {
    const prose = read(page).replace(/^```mermaid\n[\s\S]*?^```/gm, '');
    const named = [
      ...prose.matchAll(
        /`((?:DB|FHIR|SLOT|PUBLICATION|WORKER|MAX|RETENTION|SHUTDOWN|METRICS|LOG|OUTBOX|NODE|TEST|PG|PROMETHEUS)_[A-Z_]+)\b/g,
      ),
    ];
    for (const [, name] of named) expect(variables).toContain(name);
  });
});

describe('the commands that the pages name', () => {
  const line = /(?:npm run (?:-s )?connector --|docker compose run --rm (?:operator|connector)) ([^\n`|]+)/g;
  const options = new Map<string, Set<string>>();
  for (const page of pages) {
    for (const [, words = ''] of read(page).matchAll(line)) {
      const [said = ''] = words.split(' #', 1);
      const [command = ''] = /^(?:dlq )?[a-z]+(?= |$)/.exec(said) ?? [];
      const named = options.get(command) ?? new Set();
      for (const [option] of said.matchAll(/--[a-z-]+/g)) named.add(option);
      options.set(command, named);
    }
  }
  // Not a command: the options of the program itself, or dots in its place.
  const commands = [...options].filter(([command]) => command !== '');

  test('are several', () => {
    expect(commands.length).toBeGreaterThan(8);
  });

  test.each(commands)('hold %s, which exists with the options that are named', async (command, named) => {
    const { status, stdout } = await runCommand({}, ...command.split(' '), '--help');
    expect(status).toBe(0);
    expect(stdout).toContain(`Usage: fhir-connector ${command} `);
    for (const option of named) expect(stdout).toContain(` ${option}`);
  });
});

test('each command has its statuses in docs/commands.md, and its variables in docs/configuration.md', async () => {
  const { stdout } = await runCommand({}, '--help');
  const commands = [...(stdout.split('Commands:')[1] ?? '').matchAll(/^ {2}([a-z]+)/gm)].map(([, name = '']) => name);
  expect(commands).toContain('verify');
  const firstWords = (section: string) =>
    new Set(rowsOf(section).flatMap(([cell = '']) => [...cell.matchAll(/`([a-z]+)/g)].map(([, word]) => word)));
  const named = new Set(commands.filter((name) => name !== 'help'));
  expect(firstWords(sectionOf('docs/commands.md', 'Commands').split('\n## ')[0] ?? '')).toEqual(named);
  expect(firstWords(sectionOf('docs/configuration.md', 'Which command reads what'))).toEqual(named);
});

describe('docs/troubleshooting.md', () => {
  const quotes = rowsOf(read('docs/troubleshooting.md')).flatMap(([symptom = '']) => quotesIn(symptom));

  test('quotes more than ten messages', () => {
    expect(quotes.length).toBeGreaterThan(10);
  });

  test.each(quotes)('quotes a message of the connector: %s', (quote) => {
    expect(isSaid(quote)).toBe(true);
  });
});
