// docs/operations.md names tests, messages and states that there are.

import { describe, expect, test } from 'vitest';
import { READY_STATES } from '../../src/cli/run.ts';
import { CONNECTOR_STATES } from '../../src/metrics/metrics.ts';
import { hasTest, headingsOf, isSaid, quotesIn, read, rowsOf, sectionOf, testsIn } from './document.ts';

const PAGE = 'docs/operations.md';
const chapters = headingsOf(PAGE)
  .filter(({ text, level }) => level === 2 && text !== 'Three questions')
  .map(({ text }) => text);

describe(PAGE, () => {
  test.each(chapters)('says in “%s” what not to do, and what was tried', (chapter) => {
    const section = sectionOf(PAGE, chapter);
    expect(section).toMatch(/^\*\*Do not\*\* /m);
    const tests = testsIn(section);
    expect(tests).not.toEqual([]);
    for (const each of tests) expect(hasTest(each), `${each.file} has a test “${each.title}”`).toBe(true);
  });

  test('quotes messages of the connector', () => {
    const quotes = quotesIn(read(PAGE).replace(/^- `test\/.*$/gm, ''));
    expect(quotes.length).toBeGreaterThan(5);
    expect(quotes.filter((quote) => !isSaid(quote))).toEqual([]);
  });

  test('has every state with what the probes answer in it', () => {
    const states = rowsOf(sectionOf(PAGE, 'Probes')).map(([state, live, ready]) => [state, live, ready]);
    expect(states.toSorted()).toEqual(
      CONNECTOR_STATES.map((state) => [`\`${state}\``, '200', READY_STATES.has(state) ? '200' : '503']).toSorted(),
    );
  });
});
