// Prints what the connector runs on, every package of production with its version, licence and hash, as a CycloneDX document.
// By `npm sbom`, of a lockfile without the packages of development: its own --omit=dev leaves out of production what development
// uses too, such as pg. https://github.com/npm/cli/issues/7909

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Lockfile {
  readonly packages: Readonly<Record<string, { readonly dev?: true; devDependencies?: unknown }>>;
}

function read(name: string) {
  return JSON.parse(readFileSync(join(import.meta.dirname, '..', name), 'utf8'));
}

const { devDependencies: _, ...manifest } = read('package.json');
const lockfile: Lockfile = read('package-lock.json');
const production = Object.entries(lockfile.packages).filter(([, { dev }]) => !dev);
for (const [, entry] of production) delete entry.devDependencies;

const parent = mkdtempSync(join(tmpdir(), 'sbom-'));
try {
  // The document has the name of the folder.
  const folder = join(parent, manifest.name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
  writeFileSync(
    join(folder, 'package-lock.json'),
    JSON.stringify({ ...lockfile, packages: Object.fromEntries(production) }),
  );
  execFileSync('npm', ['sbom', '--package-lock-only', '--sbom-format=cyclonedx', '--sbom-type=application'], {
    cwd: folder,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
} finally {
  rmSync(parent, { recursive: true });
}
