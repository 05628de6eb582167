// What is said of an error that nobody caught: enough to find the bug by, and nothing that the error itself says.
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { FatalError } from '../../src/fatal.ts';
import { lastWords } from '../../src/privacy/last-words.ts';

describe('the last words', () => {
  it('of an error that an operator can mend are its sentence', () => {
    expect(lastWords(new FatalError('Set DB_NAME.'))).toBe('Set DB_NAME.\n');
  });

  it('of any other are its class, its code and its place', () => {
    const error = Object.assign(new pg.DatabaseError('Key (name)=(Jane) exists', 1, 'error'), {
      code: '23505',
      detail: 'Failing row contains (Jane).',
    });
    expect(lastWords(error)).toMatch(
      /^An error that nobody foresaw .*\nDatabaseError 23505\n {4}at test\/privacy\/last-words\.test\.ts:\d+:\d+\n/,
    );
    expect(lastWords(error)).not.toContain('Jane');
  });

  it('name the causes, and of several errors the first', () => {
    const cause = new RangeError('Jane', { cause: new TypeError('Jane') });
    const words = lastWords(new AggregateError([cause, new Error('Jane')], 'Jane'));
    expect(words.match(/^\w.*$/gm)?.slice(1)).toEqual([
      'AggregateError',
      'caused by RangeError',
      'caused by TypeError',
    ]);
    expect(words).not.toContain('Jane');
  });

  it.each([
    ['a message with lines like those of a stack', new Error('x\n    at Jane (file:///Jane.ts:1:1)')],
    ['a name that was given to it', Object.assign(new Error('x'), { name: 'Jane', code: 'Jane Doe' })],
    ['a message that was changed since', Object.assign(new Error('Jane'), { message: 'x' })],
    ['a stack that is none', Object.assign(new Error('x'), { stack: 'Jane' })],
    ['a class made at run time', new (class extends Error {})('Jane')],
    ['a text', 'Jane'],
    ['an object', { name: 'Jane', message: 'Jane', stack: 'Error: x\n    at Jane (file:///Jane.ts:1:1)' }],
    ['a cause that is none', new Error('x', { cause: 'Jane' })],
  ])('do not repeat %s', (_, error) => {
    expect(lastWords(error)).not.toContain('Jane');
  });
});
