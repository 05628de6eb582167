// Reads the documentation, and replaces in it what is made from the code, so that a test can compare the two.

import { globSync, readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';

const root = join(import.meta.dirname, '..', '..');

/** Every page of the documentation, relative to the repository. */
export const pages = globSync(['*.md', 'docs/*.md'], { cwd: root }).map(normalize).toSorted();

export function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** For `toMatchFileSnapshot`: with `-u` vitest writes the page anew. */
export function pathOf(page: string): string {
  return join(root, page);
}

/** The page with `content` between `<!-- name -->` and `<!-- /name -->`. */
export function withGenerated(page: string, parts: Readonly<Record<string, string>>): string {
  return Object.entries(parts).reduce((text, [name, content]) => {
    const [opening, closing] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
    const [from, to] = [text.indexOf(opening), text.indexOf(closing)];
    if (from === -1 || to < from) throw new Error(`${page} has no place for "${name}": ${opening} … ${closing}.`);
    return `${text.slice(0, from + opening.length)}\n\n${content}\n\n${text.slice(to)}`;
  }, read(page));
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  // A bar would end the cell, and <NAME> would be a tag.
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replace(/[|<]/g, '\\$&')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** The cells of each row of a Markdown table, without its head. */
export function rowsOf(markdown: string): string[][] {
  const lines = markdown.split('\n').filter((line) => line.startsWith('|'));
  return lines
    .filter((_, index) => !isRule(lines[index]) && !isRule(lines[index + 1]))
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

/** From the heading with this text to the next one of the same or a higher level. */
export function sectionOf(page: string, heading: string): string {
  const lines = read(page).split('\n');
  const found = headingsOf(page);
  const start = found.find(({ text }) => text === heading);
  if (!start) throw new Error(`${page} has no heading "${heading}".`);
  const end = found.find(({ line, level }) => line > start.line && level <= start.level);
  return lines.slice(start.line, end?.line).join('\n');
}

/** Headings with their level and the index of their line; a `#` in a fenced block is none. */
export function headingsOf(page: string): { text: string; level: number; line: number }[] {
  let fenced = false;
  return read(page)
    .split('\n')
    .flatMap((content, line) => {
      if (content.startsWith('```')) fenced = !fenced;
      const heading = fenced ? null : /^(#+) (.*)$/.exec(content);
      return heading ? [{ text: heading[2] ?? '', level: heading[1]?.length ?? 0, line }] : [];
    });
}

/** The fenced blocks of one language in a page or a section; those in a list without the indent that they have there. */
export function blocksOf(markdown: string, language: string): string[] {
  return [...markdown.matchAll(new RegExp(`^( *)\`\`\`${language}\\n([\\s\\S]*?)^ *\`\`\``, 'gm'))].map(
    ([, indent = '', block = '']) => block.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  );
}

/** The words of the connector that a page quotes: “words”. */
export function quotesIn(markdown: string): string[] {
  return [...markdown.matchAll(/“([^”]+)”/g)].map((match) => match[1] ?? '');
}

/** Strings as they are at run time: parts that are joined, quotes that are escaped. */
const said = globSync('{src,sql}/**/*.{ts,sql}', { cwd: root })
  .map((file) => read(file))
  .join('\n')
  .replace(/'\s*\+?\n\s*'/g, '')
  .replaceAll("\\'", "'");

/** Do these words stand in the code? Between them, at “…”, is what is filled in. */
export function isSaid(quote: string): boolean {
  return quote.split('…').every((part) => said.includes(part.trim()));
}

/** The tests that a page names, by file and title: - `test/file.test.ts`: “title”, “another” */
export function testsIn(markdown: string): { file: string; title: string }[] {
  return [...markdown.matchAll(/^- `(test\/[\w./-]+)`: (.*)$/gm)].flatMap(([, file = '', titles = '']) =>
    [...titles.matchAll(/“([^”]+)”/g)].map((title) => ({ file, title: title[1] ?? '' })),
  );
}

/** Is there such a test, or such a describe? What is filled into its title when it runs may be anything. */
export function hasTest({ file, title }: { file: string; title: string }, calls = 'it|test'): boolean {
  const call = new RegExp(
    `\\b(?:${calls})(?:\\.(?:each|for)(?:<[\\s\\S]*?>)?\\([\\s\\S]*?\\)|\\.\\w+)?\\(\\s*(?:'((?:[^'\\\\]|\\\\.)*)'|"([^"]*)"|\`([^\`]*)\`)`,
    'g',
  );
  return [...read(file).matchAll(call)]
    .map((match) => (match[1] ?? match[2] ?? match[3] ?? '').replaceAll("\\'", "'"))
    .map((written) => written.split(FILLED_IN).map(literally))
    .some((parts) => new RegExp(`^${parts.join('.+')}$`).test(title));
}

/** ${expression}, %s and its like, $property */
const FILLED_IN = /\$\{[^}]*\}|%[a-z#$]|\$[a-z][\w.]*/i;

function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

function isRule(line: string | undefined): boolean {
  return line !== undefined && /^\|[\s|:-]+\|$/.test(line);
}
