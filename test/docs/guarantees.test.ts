// Each promise of docs/guarantees.md names code that exists and tests that exist, by their titles.

import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { headingsOf, pathOf, read, sectionOf } from './document.ts';

const page = 'docs/guarantees.md';
const promises = headingsOf(page)
  .filter(({ text }) => /^\d\. /.test(text))
  .map(({ text }) => {
    const section = sectionOf(page, text);
    return {
      promise: text,
      files: [...section.matchAll(/`((?:src|sql)\/[\w./-]+)`/g)].map((match) => match[1] ?? ''),
      tests: [...section.matchAll(/^- `(test\/[\w./-]+)`: (.*)$/gm)].flatMap(([, file = '', titles = '']) =>
        [...titles.matchAll(/“([^”]+)”/g)].map((title) => ({ file, title: title[1] ?? '' })),
      ),
    };
  });

describe(page, () => {
  test('has the nine promises', () => {
    expect(promises.map(({ promise }) => Number.parseInt(promise, 10))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test.each(promises)('$promise', ({ files, tests }) => {
    expect(files).not.toEqual([]);
    expect(tests).not.toEqual([]);
    for (const file of files) expect(existsSync(pathOf(file)), file).toBe(true);
    for (const { file, title } of tests)
      expect(
        titlesOf(file).some((written) => written.test(title)),
        `${file} has a test “${title}”`,
      ).toBe(true);
  });
});

/** The titles in a test file; what is filled in when it runs may be anything. */
function titlesOf(file: string): RegExp[] {
  const call = /\b(?:it|test)(?:\.(?:each|for)\([\s\S]*?\)|\.\w+)?\(\s*(?:'((?:[^'\\]|\\.)*)'|"([^"]*)"|`([^`]*)`)/g;
  return [...read(file).matchAll(call)]
    .map((match) => (match[1] ?? match[2] ?? match[3] ?? '').replaceAll("\\'", "'"))
    .map((title) => title.split(/\$\{[^}]*\}/).map(literally))
    .map((parts) => new RegExp(`^${parts.join('.+')}$`));
}

function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
