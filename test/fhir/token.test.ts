// Identifiers as tokens: how they are read, when two are the same, and how they stand in a URL.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  MOST_IDENTIFIER_BYTES,
  readIdentifier,
  sameToken,
  type Token,
  tokenParameter,
  withoutRepeats,
} from '../../src/fhir/model/token.ts';
import { anyCharacters } from './texts.ts';

const token = (system: string, value: string): Token => ({ system, value });

describe('readIdentifier', () => {
  it.each([
    ['https://hospital.example.com/mrn', 'MRN-1', token('https://hospital.example.com/mrn', 'MRN-1')],
    [' urn:x\n', '\t7 ', token('urn:x', '7')],
    ['\ufeffurn:x\u00a0', '\u30007\u2003', token('urn:x', '7')],
    [null, '7', token('', '7')],
    [undefined, '7', token('', '7')],
    ['', '7', token('', '7')],
    [' \t', '7', token('', '7')],
    ['urn:x', '943 476\t5919', token('urn:x', '943 476\t5919')],
    ['urn:x', '🏥é|,\\$%', token('urn:x', '🏥é|,\\$%')],
    ['urn:ü', 'Ä', token('urn:ü', 'Ä')],
  ])('reads %j and %j', (system, value, expected) => {
    expect(readIdentifier(system, value)).toEqual({ kind: 'token', token: expected });
  });

  it.each([null, undefined, '', ' ', '\t\n', '\u00a0\u3000'])('has none where the value is %j', (value) => {
    expect(readIdentifier('urn:x', value)).toEqual({ kind: 'absent' });
    // What is not there cannot be wrong either.
    expect(readIdentifier('no uri', value)).toEqual({ kind: 'absent' });
  });

  it.each(['a b', 'a\tb', 'a\u00a0b', 'a\u2028b', 'https://hospital.example.com/ mrn'])(
    'refuses the system %j',
    (system) => {
      expect(readIdentifier(system, '7')).toEqual({
        kind: 'invalid',
        reason: 'its system holds white space, which a FHIR URI cannot',
      });
    },
  );

  it.each([
    ['urn:\u0000', '7'],
    ['urn:\u001f', '7'],
    ['urn:\ud800', '7'],
    ['urn:x', '7\u0000'],
    ['urn:x', '\u001b7'],
    ['urn:x', '\udc007'],
  ])('refuses %j with %j', (system, value) => {
    expect(readIdentifier(system, value)).toEqual({
      kind: 'invalid',
      reason: 'it holds control characters, which FHIR does not allow',
    });
  });

  it('refuses what PostgreSQL can keep in no index, and nothing shorter', () => {
    const half = 'é'.repeat(MOST_IDENTIFIER_BYTES / 4);
    expect(readIdentifier(`${half} `, half)).toEqual({ kind: 'token', token: token(half, half) });
    const refused = { kind: 'invalid', reason: 'it is longer than 2,000 bytes' };
    expect(readIdentifier(half, `${half}7`)).toEqual(refused);
    expect(readIdentifier(`${half}7`, half)).toEqual(refused);
  });

  it('knows which ones name the same identifier, among many', () => {
    const tokens = [token('urn:x', '7'), token('', 'urn:x 7'), token('urn:x', '8'), token('urn:x', '7')];
    expect(withoutRepeats(tokens)).toEqual(tokens.slice(0, 3));
  });
});

describe('sameToken', () => {
  it('compares system and value, each with its own', () => {
    expect(sameToken(token('urn:x', '7'), token('urn:x', '7'))).toBe(true);
    expect(sameToken(token('urn:x', '7'), token('urn:x', '8'))).toBe(false);
    expect(sameToken(token('urn:x', '7'), token('urn:y', '7'))).toBe(false);
    expect(sameToken(token('urn:x', '7'), token('', '7'))).toBe(false);
    expect(sameToken(token('a', 'b'), token('b', 'a'))).toBe(false);
  });

  it('tells upper from lower case, and composed from decomposed letters', () => {
    expect(sameToken(token('', 'mrn-1'), token('', 'MRN-1'))).toBe(false);
    expect(sameToken(token('', '\u00e9'), token('', 'e\u0301'))).toBe(false);
  });
});

describe('tokenParameter', () => {
  it.each([
    [token('https://hospital.example.com/mrn', 'MRN-001234'), 'https%3A%2F%2Fhospital.example.com%2Fmrn%7CMRN-001234'],
    [token('', '7'), '%7C7'],
    [token('urn:x', 'a|b'), 'urn%3Ax%7Ca%5C%7Cb'],
    [token('urn:a|b', '7'), 'urn%3Aa%5C%7Cb%7C7'],
    [token('urn:x', 'a,b'), 'urn%3Ax%7Ca%5C%2Cb'],
    [token('urn:x', 'a$b'), 'urn%3Ax%7Ca%5C%24b'],
    [token('urn:x', 'a\\b'), 'urn%3Ax%7Ca%5C%5Cb'],
    [token('urn:x', '|,$\\|'), 'urn%3Ax%7C%5C%7C%5C%2C%5C%24%5C%5C%5C%7C'],
    [token('urn:x', 'a&b=c#d?e+f/g%41 h'), 'urn%3Ax%7Ca%26b%3Dc%23d%3Fe%2Bf%2Fg%2541%20h'],
    [token('urn:x', 'é🏥'), 'urn%3Ax%7C%C3%A9%F0%9F%8F%A5'],
  ])('writes %j', (given, expected) => {
    expect(tokenParameter(given)).toBe(expected);
  });

  const part = fc.oneof(
    fc.array(fc.constantFrom('|', ',', '\\', '$', '%', '7', 'a'), { maxLength: 6 }).map((parts) => parts.join('')),
    anyCharacters,
  );
  const tokens = fc
    .tuple(part, part)
    .map(([system, value]) => readIdentifier(system, value))
    .filter((reading) => reading.kind === 'token')
    .map((reading) => reading.token);

  it('can be read back by the rules of URLs and of FHIR: nothing is lost', () => {
    fc.assert(
      fc.property(tokens, (given) => {
        expect(readParameter(decodeURIComponent(tokenParameter(given)))).toEqual([given.system, given.value]);
      }),
      { numRuns: 1000 },
    );
  });

  it('is the same for the same token only', () => {
    fc.assert(
      fc.property(tokens, tokens, (one, other) => {
        expect(tokenParameter(one) === tokenParameter(other)).toBe(sameToken(one, other));
      }),
      { numRuns: 1000 },
    );
  });

  it('holds only what a URL may hold and no server splits at', () => {
    fc.assert(
      fc.property(tokens, (given) => {
        expect(tokenParameter(given)).toMatch(/^[\w.~!*'()%-]+$/);
      }),
    );
  });
});

/** As a server reads a token: split at the first bare |, then unescaped. https://hl7.org/fhir/R4/search.html#escaping */
function readParameter(parameter: string): string[] {
  const parts = [''];
  for (let at = 0; at < parameter.length; at += 1) {
    const character = parameter.charAt(at);
    if (character === '\\') {
      at += 1;
      parts.push((parts.pop() ?? '') + parameter.charAt(at));
    } else if (character === ',') throw new Error('Two values.');
    else if (character === '|') parts.push('');
    else parts.push((parts.pop() ?? '') + character);
  }
  return parts;
}
