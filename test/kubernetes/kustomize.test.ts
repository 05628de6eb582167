// What kustomize makes of kubernetes/: valid, with the image and the settings of the site in it.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { kustomizations, type Manifest, manifests, type Pod, settings } from './manifests.ts';
import { faultsOf } from './schema.ts';

const root = join(import.meta.dirname, '..', '..');

function build(folder: string): Manifest[] {
  const yaml = execFileSync(process.env.KUSTOMIZE_BIN ?? 'kustomize', ['build', join(root, folder)], {
    encoding: 'utf8',
  });
  return parseAllDocuments(yaml).map((document) => document.toJS());
}

const [{ name = '', newName = '', newTag = '' } = {}] = kustomizations.flatMap(({ images = [] }) => images);

it.each([
  ['kubernetes', 'kubernetes/'],
  ['kubernetes/migrate', 'kubernetes/migrate/'],
])('%s becomes objects that are valid, complete, and for the site', (folder, files) => {
  const built = build(folder);
  for (const object of built) expect(faultsOf(object)).toEqual([]);
  const own = manifests.filter(({ file }) => file.startsWith(files) && !file.slice(files.length).includes('/'));
  expect(built.map(({ kind }) => kind).toSorted()).toEqual(['ConfigMap', ...own.map(({ kind }) => kind)].toSorted());

  const map = built.find(({ kind }) => kind === 'ConfigMap') as unknown as { metadata: { name: string }; data: object };
  expect(map.data).toEqual(settings.given);
  // The hash, by which a change of the settings rolls the pods.
  expect(map.metadata.name).toMatch(new RegExp(`^${name}-[a-z0-9]{10}$`));
  const pods: Pod[] = built.flatMap(({ spec }) => (spec?.template ? [spec.template] : []));
  expect(pods).toHaveLength(1);
  for (const { spec } of pods) {
    expect(spec.containers[0].image).toBe(`${newName}:${newTag}`);
    expect(spec.containers[0].envFrom).toEqual([{ configMapRef: { name: map.metadata.name } }]);
  }
});
