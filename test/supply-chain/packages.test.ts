// What npm brings: exactly what the lockfiles name, by its hash, and without a script that nobody has judged.
import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { forProduction, LOCKFILES, packagesOf } from './lockfiles.ts';

describe.each(LOCKFILES)('%s', (lockfile) => {
  const packages = packagesOf(lockfile);

  test('has the SHA-512 of every package', () => {
    expect(packages.length).toBeGreaterThan(5);
    const without = packages.filter(({ integrity = '' }) => !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity));
    expect(without.map(({ path }) => path)).toEqual([]);
  });

  test('takes none from a repository, a folder or a server of its own', () => {
    expect(packages.filter(({ link, version }) => link || !/^\d+\.\d+\.\d+/.test(version))).toEqual([]);
    const origins = packages.flatMap(({ resolved }) => (resolved === undefined ? [] : [new URL(resolved).origin]));
    expect(new Set(origins).size).toBeLessThanOrEqual(1);
    for (const origin of origins) expect(origin).toMatch(/^https:/);
  });

  test('has no install script that package.json does not allow or refuse, and package.json none that there is not', () => {
    const manifest = JSON.parse(readFileSync(join(dirname(lockfile), 'package.json'), 'utf8'));
    const scripted = packages.filter(({ hasInstallScript }) => hasInstallScript).map(({ name }) => name);
    expect(Object.keys(manifest.allowScripts).toSorted()).toEqual([...new Set(scripted)].toSorted());
  });
});

test('no package of production has an install script', () => {
  const production = packagesOf('package-lock.json').filter(forProduction);
  expect(production.length).toBeGreaterThan(30);
  expect(production.filter(({ hasInstallScript }) => hasInstallScript)).toEqual([]);
});

test('wherever packages are installed, it is by the lockfile', () => {
  const files = ['Dockerfile', '.ci/run', ...globSync(['*.md', 'docs/*.md', '.github/workflows/*.yml', 'compose/*'])];
  const commands = files.flatMap(
    (file) =>
      readFileSync(file, 'utf8').match(/\b(?:npm|npx|yarn|pnpm) (?:ci|install|i|add|exec)\b|\bnpx [\w@-].*/g) ?? [],
  );
  expect(commands.length).toBeGreaterThan(10);
  expect(new Set(commands)).toEqual(new Set(['npm ci']));
});
