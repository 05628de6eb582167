// Each promise of docs/guarantees.md names code that exists and tests that exist, by their titles.

import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { hasTest, headingsOf, pathOf, sectionOf, testsIn } from './document.ts';

const page = 'docs/guarantees.md';
const promises = headingsOf(page)
  .filter(({ text }) => /^\d+\. /.test(text))
  .map(({ text }) => {
    const section = sectionOf(page, text);
    return {
      promise: text,
      files: [...section.matchAll(/`((?:src|sql)\/[\w./-]+)`/g)].map((match) => match[1] ?? ''),
      tests: testsIn(section),
    };
  });

describe(page, () => {
  test('has the twelve promises', () => {
    expect(promises.map(({ promise }) => Number.parseInt(promise, 10))).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    ]);
  });

  test.each(promises)('$promise names code and tests that exist', ({ files, tests }) => {
    expect(files).not.toEqual([]);
    expect(tests).not.toEqual([]);
    for (const file of files) expect(existsSync(pathOf(file)), file).toBe(true);
    for (const each of tests) expect(hasTest(each), `${each.file} has a test “${each.title}”`).toBe(true);
  });
});
