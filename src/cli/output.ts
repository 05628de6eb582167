// What the commands print: lines and tables for people, JSON for programs.
import { stripVTControlCharacters } from 'node:util';
import { Option } from 'commander';

export type Cell = string | number | boolean | null | undefined;

/** `--json`, of each command that answers a question. */
export function jsonOption(): Option {
  return new Option('--json', 'Prints JSON instead of text.');
}

/** Ends with a line break. */
export function asJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** `1 row`, `2 rows`. */
export function counted(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

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
