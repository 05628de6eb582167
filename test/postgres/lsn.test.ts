// Positions in the WAL: read from any of PostgreSQL's spellings, written as PostgreSQL does, compared as numbers.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatLsn, type Lsn, maxLsn, parseLsn } from '../../src/postgres/lsn.ts';

const lsn = fc.bigInt(0n, 2n ** 64n - 1n) as fc.Arbitrary<Lsn>;

describe('an LSN', () => {
  it('survives being written and read', () => {
    fc.assert(fc.property(lsn, (position) => parseLsn(formatLsn(position)) === position));
  });

  it('is read alike padded or not, in capitals or not', () => {
    fc.assert(
      fc.property(lsn, (position) => {
        const [high = '', low = ''] = formatLsn(position).split('/');
        const padded = `${high.padStart(8, '0')}/${low.padStart(8, '0')}`;
        expect(parseLsn(padded)).toBe(position);
        expect(parseLsn(padded.toLowerCase())).toBe(position);
      }),
    );
  });

  it('is written as PostgreSQL writes it', () => {
    expect(formatLsn(0x16b374d848n as Lsn)).toBe('16/B374D848');
    expect(formatLsn(0n as Lsn)).toBe('0/0');
    expect(formatLsn(0x1_0000_000fn as Lsn)).toBe('1/F');
  });

  it('is compared as a number where its text would sort otherwise', () => {
    const earlier = parseLsn('9/FFFFFFFF');
    const later = parseLsn('10/0');
    expect(earlier < later).toBe(true);
    expect(maxLsn(earlier, later)).toBe(later);
    expect(maxLsn(later, earlier)).toBe(later);
  });

  it.each(['', '/', '0', '0/', '/0', '0/0/0', '0x1/2', 'G/0', '0/123456789', '-1/0', ' 0/0', '0/0\n', '0,0'])(
    'is not made of %j',
    (junk) => {
      expect(() => parseLsn(junk)).toThrow(TypeError);
    },
  );
});
