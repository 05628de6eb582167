// Which characters a FHIR string may hold, and that the others leave a mark in their place.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isFhirString, toFhirString } from '../../src/fhir/model/primitives.ts';
import { anyCharacters, anyUnits } from './texts.ts';

/** https://hl7.org/fhir/R4/datatypes.html#string , read once more and without a regular expression. */
function isAllowed(codePoint: number): boolean {
  if (codePoint < 0x20) return codePoint === 9 || codePoint === 10 || codePoint === 13;
  return codePoint < 0xd800 || codePoint > 0xdfff;
}

describe('a FHIR string', () => {
  it('may hold each character of the first plane that is no control character and no half of a pair', () => {
    for (let codePoint = 0; codePoint <= 0xffff; codePoint += 1) {
      const character = String.fromCharCode(codePoint);
      const expected = isAllowed(codePoint) ? character : '\ufffd';
      // Not by expect, which takes half a second for so many.
      if (isFhirString(`a${character}b`) !== isAllowed(codePoint) || toFhirString(character) !== expected) {
        throw new Error(`U+${codePoint.toString(16)}`);
      }
    }
  });

  it('may hold whole pairs', () => {
    expect(isFhirString('🏥𝒳\u{10ffff}')).toBe(true);
    expect(toFhirString('🏥𝒳\u{10ffff}')).toBe('🏥𝒳\u{10ffff}');
  });

  it('may be empty', () => {
    expect(isFhirString('')).toBe(true);
    expect(toFhirString('')).toBe('');
  });

  it('has a mark for each forbidden character, wherever it stands', () => {
    expect(toFhirString('\u0000a\u0001\u0002b\ud83d c\udfe5\u001f')).toBe('\ufffda\ufffd\ufffdb\ufffd c\ufffd\ufffd');
    expect(isFhirString('all is well but the last\u0008')).toBe(false);
  });

  it('is asked again with the same answer', () => {
    expect([1, 2, 3].map(() => isFhirString('a\u0000b\u0000'))).toEqual([false, false, false]);
  });
});

describe('toFhirString', () => {
  it('makes a FHIR string of anything, of the same length, and leaves one alone', () => {
    fc.assert(
      fc.property(fc.oneof(anyUnits, anyCharacters), (text) => {
        const made = toFhirString(text);
        expect(isFhirString(made)).toBe(true);
        expect(made).toHaveLength(text.length);
        expect(toFhirString(made)).toBe(made);
        if (isFhirString(text)) expect(made).toBe(text);
      }),
    );
  });
});
