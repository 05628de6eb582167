// Texts of all characters there are, for property tests: fast-check's own unit 'binary' takes seconds to set up.
import fc from 'fast-check';

/** Any code units, halves of surrogate pairs among them. */
export const anyUnits = fc.array(fc.nat(0xffff), { maxLength: 8 }).map((units) => String.fromCharCode(...units));

/** Any code points. Those of surrogates become halves of pairs. */
export const anyCharacters = fc
  .array(fc.oneof(fc.nat(0x7f), fc.nat(0xffff), fc.nat(0x10ffff)), { maxLength: 8 })
  .map((codePoints) => String.fromCodePoint(...codePoints));
