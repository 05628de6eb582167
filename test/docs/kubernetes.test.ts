// docs/kubernetes.md applies folders, names Secrets and makes rules that fit the manifests.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { connectorPod, kustomizations, manifest, migratePod } from '../kubernetes/manifests.ts';
import { faultsOf } from '../kubernetes/schema.ts';
import { blocksOf, pathOf, read } from './document.ts';

const PAGE = 'docs/kubernetes.md';
const commands = blocksOf(read(PAGE), 'sh').join('');

describe(PAGE, () => {
  test('applies kustomizations that there are', () => {
    const applied = [...commands.matchAll(/kubectl apply -k (\S+)/g)].map(([, folder = '']) => folder);
    expect(new Set(applied)).toEqual(new Set(['kubernetes', 'kubernetes/migrate']));
    for (const folder of applied) expect(existsSync(pathOf(`${folder}/kustomization.yaml`))).toBe(true);
  });

  test('makes each Secret that a pod mounts or reads, with the keys that it looks for', () => {
    const made = new Map(
      [...commands.matchAll(/kubectl create secret generic (\S+) (.*)/g)].map(([, name = '', keys = '']) => [
        name,
        [...keys.matchAll(/--from-(?:file|literal)=([\w-]+)=/g)].map(([, key = '']) => key).toSorted(),
      ]),
    );
    for (const { spec } of [connectorPod, migratePod]) {
      const [{ env }] = spec.containers;
      const files = env.flatMap(({ name, value = '' }) =>
        name.endsWith('_FILE') ? [value.split('/').at(-1) ?? ''] : [],
      );
      const read = env.flatMap(({ valueFrom }) => (valueFrom ? [valueFrom.secretKeyRef.key] : []));
      expect(made.get(spec.volumes[0]?.secret.secretName ?? '')).toEqual([...files, ...read].toSorted());
    }
    expect(made.size).toBe(2);
  });

  test('names the objects of the manifests', () => {
    const named = [...commands.matchAll(/\b(statefulset|job)\/([\w-]+)/g)].map(([each]) => each);
    const objects = [manifest('StatefulSet'), manifest('Job')].map(
      ({ kind, metadata }) => `${kind.toLowerCase()}/${metadata.name}`,
    );
    expect(new Set(named)).toEqual(new Set(objects));
    const [{ newName, newTag } = {}] = kustomizations.flatMap(({ images = [] }) => images);
    expect(commands).toContain(`docker push ${newName}:${newTag}`);
  });

  test('lays a Secret of certificates beside the other one, so that the pod still is a valid one', () => {
    const { volumes } = parse(blocksOf(read(PAGE), 'yaml').join(''));
    const own = connectorPod.spec.volumes[0];
    expect(volumes).toMatchObject([
      { name: own?.name, projected: { sources: [{ secret: { name: own?.secret.secretName } }, {}] } },
    ]);
    const set = parse(read('kubernetes/stateful-set.yaml'));
    set.spec.template.spec.volumes = volumes;
    expect(faultsOf(set)).toEqual([]);
  });

  test('makes a valid PrometheusRule of the rules that there are', () => {
    const block = blocksOf(read(PAGE), 'sh').find((each) => each.includes('PrometheusRule')) ?? '';
    const script = block.replace('kubectl apply -f -', 'cat');
    expect(script).not.toBe(block);
    const made = parse(execFileSync('sh', ['-euc', script], { cwd: pathOf('.'), encoding: 'utf8' }));
    expect(faultsOf(made)).toEqual([]);
    expect(made.spec).toEqual(parse(read('prometheus_rules.yml')));
  });
});
