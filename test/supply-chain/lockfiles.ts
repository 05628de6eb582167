// The lockfiles, as the tests of the supply chain read them.
import { readFileSync } from 'node:fs';

export interface LockedPackage {
  readonly version: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly link?: true;
  readonly dev?: true;
  readonly hasInstallScript?: true;
}

export const LOCKFILES = ['package-lock.json', 'test/postgres-versions/package-lock.json'];

/** Without the project itself: by the folder, the name and what is known of it. */
export function packagesOf(lockfile: string): (LockedPackage & { readonly path: string; readonly name: string })[] {
  const { packages } = JSON.parse(readFileSync(lockfile, 'utf8')) as { packages: Record<string, LockedPackage> };
  return Object.entries(packages)
    .filter(([path]) => path !== '')
    .map(([path, locked]) => ({ ...locked, path, name: path.split('node_modules/').at(-1) ?? '' }));
}

/** What is for development and, as an optional one, for production (`devOptional`) is installed with --omit=dev, too. */
export function forProduction({ dev }: LockedPackage): boolean {
  return !dev;
}
