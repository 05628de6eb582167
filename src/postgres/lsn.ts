// A position in the write-ahead log: one branded bigint type, compared as a number, never as text.
// https://www.postgresql.org/docs/current/datatype-pg-lsn.html
declare const lsnBrand: unique symbol;

/** Byte position in the WAL. The library pads LSN text in some messages and not in others, so text is never compared. */
export type Lsn = bigint & { readonly [lsnBrand]: true };

export const LSN_ZERO = 0n as Lsn;

const TEXT = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;

/** Reads PostgreSQL's text form, padded or not. Throws a TypeError on anything else. */
export function parseLsn(text: string): Lsn {
  const match = TEXT.exec(text);
  if (!match) throw new TypeError(`"${text}" is no LSN: expected two hexadecimal numbers with a slash between them.`);
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Lsn;
}

/** Writes PostgreSQL's own text form, such as `0/1A2B3C`. */
export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}

export function maxLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}
