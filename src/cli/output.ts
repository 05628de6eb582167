// Tables for people: columns as wide as what is in them.

import { stripVTControlCharacters } from 'node:util';

export type Cell = string | number | boolean | null | undefined;

/** The lines of a table: header, rule, rows. Line breaks and other control characters in a cell become spaces. */
export function tableLines(header: readonly string[], rows: readonly (readonly Cell[])[]): string[] {
  const cells = rows.map((row) => header.map((_, column) => textOf(row[column])));
  const widths = header.map((name, column) => Math.max(...[name, ...cells.map((row) => row[column] ?? '')].map(width)));
  return [header, widths.map((size) => '─'.repeat(size)), ...cells].map((row) => alignedLine(row, widths));
}

/** One line; what is wider than its column pushes the rest to the right. */
export function alignedLine(cells: readonly string[], widths: readonly number[]): string {
  return cells
    .map((cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - width(cell))))
    .join('  ')
    .trimEnd();
}

function textOf(cell: Cell): string {
  return String(cell ?? '').replace(/\p{Cc}+/gu, ' ');
}

/** In characters, not in UTF-16 units, and without colours. */
function width(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}
