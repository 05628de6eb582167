// The bill of materials has what the connector ships, and nothing of the machine that wrote it.
import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { forProduction, packagesOf } from './lockfiles.ts';

interface Component {
  readonly name: string;
  readonly version: string;
  readonly licenses: readonly unknown[];
  readonly hashes: readonly { readonly alg: string; readonly content: string }[];
}

test('npm run sbom lists exactly the packages of production in the lockfile, each with its hash and licence', () => {
  const text = execFileSync('npm', ['run', '--silent', 'sbom'], { encoding: 'utf8' });
  const { bomFormat, metadata, components } = JSON.parse(text) as {
    bomFormat: string;
    metadata: { component: Component & { type: string } };
    components: Component[];
  };
  expect(bomFormat).toBe('CycloneDX');
  const { name, version } = packageJson;
  expect(metadata.component).toMatchObject({ name, version, type: 'application' });

  const wanted = packagesOf('package-lock.json').filter(forProduction);
  expect(components.map((each) => `${each.name}@${each.version}`).toSorted()).toEqual(
    [...new Set(wanted.map((each) => `${each.name}@${each.version}`))].toSorted(),
  );
  for (const each of components) {
    expect(each.licenses, each.name).not.toEqual([]);
    const { integrity } = wanted.find((one) => one.name === each.name && one.version === each.version) ?? {};
    const hashes = each.hashes.map(({ content }) => `sha512-${Buffer.from(content, 'hex').toString('base64')}`);
    expect(hashes, each.name).toEqual([integrity]);
  }
  expect(components.map((each) => each.name)).toEqual(expect.arrayContaining(Object.keys(packageJson.dependencies)));
  expect(text).not.toContain(process.cwd());
});
