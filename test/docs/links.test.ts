// Every link of the documentation that points into the repository finds something there.

import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';
import { headingsOf, pages, pathOf, read } from './document.ts';

/** A heading's anchor, as GitHub makes it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(' ', '-');
}

const links = pages.flatMap((page) =>
  [...read(page).matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] ?? '')
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => ({ page, target })),
);

describe('the documentation', () => {
  test('has links', () => {
    expect(links.length).toBeGreaterThan(20);
  });

  test.each(links)('leads from $page to $target', ({ page, target }) => {
    const [path = '', anchor] = target.split('#');
    const file = path === '' ? page : normalize(join(dirname(page), path));
    expect(existsSync(pathOf(file)), file).toBe(true);
    if (anchor !== undefined) expect(headingsOf(file).map(({ text }) => anchorOf(text))).toContain(anchor);
  });

  test('is reached from the README or from a page that it links', () => {
    const reached = new Set(['README.md']);
    for (const page of reached) {
      for (const { page: from, target } of links) {
        const file = normalize(join(dirname(from), target.split('#')[0] ?? ''));
        if (from === page && pages.includes(file)) reached.add(file);
      }
    }
    expect([...reached].toSorted()).toEqual(pages);
  });
});
