// How a file of plain SQL is cut into statements.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { statementsOf, withoutComments } from '../../demo/script.ts';

test.each([
  ['one statement without a semicolon', 'SELECT 1', ['SELECT 1']],
  ['statements on one line', 'SELECT 1; SELECT 2;', ['SELECT 1', 'SELECT 2']],
  ['a semicolon in a text', "SELECT 'a;b', 'it''s; so'; SELECT 2", ["SELECT 'a;b', 'it''s; so'", 'SELECT 2']],
  ['a semicolon in a name', 'SELECT "a;""b"; SELECT 2', ['SELECT "a;""b"', 'SELECT 2']],
  ['a semicolon and a quote in comments', "-- isn't; it\nSELECT 1; /* don't; */ SELECT 2", 2],
  ['two dashes in a text', "SELECT '--'; SELECT 2", ["SELECT '--'", 'SELECT 2']],
  ['nothing but comments', '-- one\n;/* two */;\n', []],
])('a script with %s is cut into its statements', (_, script, expected) => {
  const statements = statementsOf(script);
  expect(typeof expected === 'number' ? statements.length : statements).toEqual(expected);
});

test('comments go out of a statement, texts stay', () => {
  expect(withoutComments("-- what\nUPDATE patient /* all */\n  SET email = 'a--b /* c */' -- why\n")).toBe(
    "UPDATE patient SET email = 'a--b /* c */'",
  );
});

test('sql/test_events.sql has the transactions that it is about', () => {
  const statements = statementsOf(readFileSync(new URL('../../sql/test_events.sql', import.meta.url), 'utf8'));
  const words = statements.map((statement) => withoutComments(statement).split(/\W/)[0]);
  expect(words.filter((word) => word === 'BEGIN').length).toBeGreaterThan(2);
  expect(words.filter((word) => word === 'BEGIN').length).toBe(
    words.filter((word) => word === 'COMMIT' || word === 'ROLLBACK').length,
  );
  const known = ['SET', 'RESET', 'SELECT', 'INSERT', 'UPDATE', 'DELETE', 'BEGIN', 'COMMIT', 'ROLLBACK'];
  expect(words.filter((word) => !known.includes(word ?? ''))).toEqual([]);
});
