// The mutants fit the code as it is, so that who changes it hears of it at once; npm run test:mutants tries them out.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hasTest } from '../docs/document.ts';
import { Misfit, type Mutant, mutate } from './mutant.ts';
import { MUTANTS } from './mutants.ts';
import { type Report, verdictOf } from './verdict.ts';

const read = (file: string) => readFileSync(join(import.meta.dirname, '../..', file), 'utf8');

describe('the mutants', () => {
  it('have names of their own', () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
  });

  it.each(MUTANTS)('$name fits the source', (mutant) => {
    for (const file of new Set(mutant.edits.map((edit) => edit.file)))
      expect(mutate(mutant, file, read(file))).not.toBe(read(file));
  });

  it.each(MUTANTS)('$name names a test that exists', ({ test: { file, title } }) => {
    const titles = title.split(' > ');
    for (const outer of titles.slice(0, -1))
      expect(hasTest({ file, title: outer }, 'describe'), `${file} describes “${outer}”`).toBe(true);
    expect(hasTest({ file, title: titles.at(-1) ?? '' }), `${file} has a test “${titles.at(-1)}”`).toBe(true);
  });
});

describe('mutate', () => {
  const mutant: Mutant = {
    name: 'one',
    harm: '',
    edits: [{ file: 'a.ts', find: 'old', replace: '$&new' }],
    test: { file: 'a.test.ts', title: 'a' },
  };

  it('replaces the text, literally', () => {
    expect(mutate(mutant, 'a.ts', 'the old one')).toBe('the $&new one');
    expect(mutate(mutant, 'b.ts', 'the old one')).toBe('the old one');
  });

  it.each(['none', 'old and old'])('refuses a source that has the text not once: %s', (text) => {
    expect(() => mutate(mutant, 'a.ts', text)).toThrow(Misfit);
  });
});

describe('verdictOf', () => {
  const test = { file: 'test/a.test.ts', title: 'outer > inner' };

  function report(status: string, ...failureMessages: string[]): Report {
    const assertionResults = [{ ancestorTitles: ['outer'], title: 'inner', status, failureMessages }];
    return { testResults: [{ name: '/copy/test/a.test.ts', message: '', assertionResults }] };
  }

  it.each([
    ['green', report('passed')],
    ['red', report('failed', 'AssertionError: expected 1 to be 2\n    at a.test.ts:1:1')],
    ['red', report('failed', 'Error: Test timed out in 60000ms.\nIf this is a long-running test, …')],
    // What follows from it counts as little as what went before.
    ['red', report('failed', 'AssertionError: expected 1 to be 2', 'Error: Hook timed out in 120000ms.')],
    ['unclear', report('failed', 'Error: Hook timed out in 120000ms.')],
    ['unclear', report('failed', 'TypeError: x is not a function')],
    ['unclear', report('skipped')],
    ['unclear', { testResults: [] }],
    ['unclear', { testResults: [{ name: '/copy/test/a.test.ts', message: 'Cannot find b.ts', assertionResults: [] }] }],
  ] as const)('is %s', (as, reported) => {
    expect(verdictOf(reported, test).as).toBe(as);
  });
});
