// What an error is, by its code alone: of the data, of this program, of the moment, or a bug.
import { describe, expect, it } from 'vitest';
import { errorCode, isDataError, isPostgres, mayPass } from '../../src/postgres/errors.ts';

const withCode = (code: string) => Object.assign(new Error('text that nobody reads'), { code });

describe('the code of an error', () => {
  it('is a text, or there is none', () => {
    expect(errorCode(withCode('23505'))).toBe('23505');
    for (const none of [{ code: 7 }, null, undefined, '23505', 7, new Error('no code'), new AggregateError([])])
      expect(errorCode(none)).toBe(null);
  });

  it('is that of the first failure where all addresses of a name failed', () => {
    expect(errorCode(new AggregateError([withCode('ECONNREFUSED'), withCode('ENETUNREACH')]))).toBe('ECONNREFUSED');
  });
});

describe('an error', () => {
  it('is one of the data in the classes 21, 22, 23 and 54', () => {
    expect(['21000', '22P02', '23505', '54000'].every((code) => isDataError(withCode(code)))).toBe(true);
    expect(['42P01', '57P01', 'ECONNRESET'].some((code) => isDataError(withCode(code)))).toBe(false);
    expect(isDataError(new Error('none'))).toBe(false);
  });

  it('may pass where neither the data nor this program is wrong', () => {
    expect(['57P01', 'ECONNRESET', '40001'].every((code) => mayPass(withCode(code)))).toBe(true);
    expect(['23505', '42501', '0A000'].some((code) => mayPass(withCode(code)))).toBe(false);
  });

  it("is PostgreSQL's, or of the way to it, unless Node or this program made a class of its own for it", () => {
    expect(isPostgres(withCode('57P01'))).toBe(true);
    // pg has no code for a lost connection.
    expect(isPostgres(new Error('Connection terminated unexpectedly'))).toBe(true);
    expect(isPostgres(new TypeError('undefined is not a function'))).toBe(false);
    expect(isPostgres(Object.assign(new TypeError('invalid'), { code: 'ERR_INVALID_ARG_TYPE' }))).toBe(false);
    expect(isPostgres(new RangeError('too long'))).toBe(false);
  });
});
