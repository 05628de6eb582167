// Each threat of SECURITY.md names what holds it: files that exist, and tests that exist, by their titles.

import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { hasTest, pathOf, rowsOf, sectionOf } from './document.ts';

const threats = rowsOf(sectionOf('SECURITY.md', 'Threats')).map(([threat = '', met = '', held = '']) => ({
  threat: threat.replaceAll('*', ''),
  met,
  held: [...held.matchAll(/`([\w./-]+)`(?:: ((?:“[^”]+”(?:, )?)+))?/g)].map(([, file = '', titles = '']) => ({
    file,
    titles: [...titles.matchAll(/“([^”]+)”/g)].map(([, title = '']) => title),
  })),
}));

describe('the threats of SECURITY.md', () => {
  test('are more than twenty', () => {
    expect(threats.length).toBeGreaterThan(20);
  });

  test.each(threats)('hold “$threat”, which is met and tested', ({ met, held }) => {
    expect(met).not.toBe('');
    expect(held.filter(({ file }) => file.startsWith('test/'))).not.toEqual([]);
    for (const { file, titles } of held) {
      expect(existsSync(pathOf(file)), file).toBe(true);
      for (const title of titles) expect(hasTest({ file, title }), `${file} has a test “${title}”`).toBe(true);
    }
  });
});
