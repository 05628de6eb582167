// The manifests are valid, complete, and fit each other; that they also fit the code says pod.test.ts.
import { existsSync, globSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { read } from '../docs/document.ts';
import { connectorPod, kustomizations, manifest, manifests, migratePod } from './manifests.ts';
import { faultsOf } from './schema.ts';

const labels = connectorPod.metadata.labels;

describe('the schema', () => {
  const probe = { httpGet: { path: '/', port: 'metrics' } };
  const statefulSet = (container: object) => ({
    ...{ apiVersion: 'apps/v1', kind: 'StatefulSet', metadata: { name: 'one' } },
    spec: {
      selector: { matchLabels: { one: 'two' } },
      template: { metadata: { labels: { one: 'two' } }, spec: { containers: [{ name: 'one', ...container }] } },
    },
  });

  it('lets a well-formed object pass', () => {
    expect(faultsOf(statefulSet({ livenessProbe: probe }))).toEqual([]);
  });

  it.each([
    ['a misspelt field', { livenesProbe: probe }, /^There is no such field: .*\/containers\/0\/livenesProbe$/],
    ['a value of another type', { livenessProbe: { ...probe, periodSeconds: 'ten' } }, /periodSeconds must be integer/],
    ['what is no quantity', { resources: { limits: { memory: 'much' } } }, /memory must match format "quantity"/],
  ])('refuses %s', (_, container, fault) => {
    expect(faultsOf(statefulSet(container))).toEqual([expect.stringMatching(fault)]);
  });

  it('refuses a misspelt field at the top', () => {
    const { spec, ...rest } = statefulSet({});
    const misspelt = { ...rest, spek: spec };
    expect(faultsOf(misspelt)).toEqual(['There is no such field: /spek']);
  });
});

describe('the manifests', () => {
  it.each(manifests.map((each) => [each.file, each] as const))('%s is valid', (_, { file: __, ...object }) => {
    expect(faultsOf(object)).toEqual([]);
  });

  it('are all named by the kustomization of their folder, which names nothing else', () => {
    const named = kustomizations.flatMap(({ folder, resources = [] }) => resources.map((name) => join(folder, name)));
    expect(named.toSorted()).toEqual(manifests.map(({ file }) => file).toSorted());
    for (const { folder, components = [], configMapGenerator = [] } of kustomizations) {
      for (const name of components) expect(existsSync(join(folder, name, 'kustomization.yaml'))).toBe(true);
      for (const name of configMapGenerator.flatMap(({ envs }) => envs))
        expect(existsSync(join(folder, name))).toBe(true);
    }
  });

  it('hold no secret, and no kustomization makes one', () => {
    expect(manifests.map(({ kind }) => kind)).not.toContain('Secret');
    for (const file of globSync('kubernetes/**/*')) {
      if (/\.(yaml|env)$/.test(file)) expect(read(file), file).not.toMatch(/secretGenerator|PASSWORD=|PASSWORD$/m);
    }
  });

  it('select the pods of the connector', () => {
    const selectors = [
      manifest('StatefulSet').spec.selector.matchLabels,
      manifest('Service').spec.selector,
      manifest('PodDisruptionBudget').spec.selector.matchLabels,
      ...(connectorPod.spec.topologySpreadConstraints ?? []).map(({ labelSelector }) => labelSelector.matchLabels),
    ];
    expect(selectors).toHaveLength(5);
    for (const selector of selectors) expect(selector).toEqual(labels);
    expect(manifest('ServiceMonitor').spec.selector.matchLabels).toEqual(manifest('Service').metadata.labels);
  });

  it('select the pod of migrate by the network policy alone', () => {
    const policy = manifest('NetworkPolicy').spec.podSelector.matchLabels;
    expect(labels).toMatchObject(policy);
    expect(migratePod.metadata.labels).toMatchObject(policy);
    expect(migratePod.metadata.labels).not.toMatchObject(labels);
  });

  it('name one port', () => {
    const { startupProbe, livenessProbe, readinessProbe, ports } = connectorPod.spec.containers[0];
    const names = [
      ...[startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => httpGet.port),
      ...manifest('Service').spec.ports.flatMap((port: { name: string; targetPort: string }) => [
        port.name,
        port.targetPort,
      ]),
      ...manifest('NetworkPolicy').spec.ingress.flatMap((rule: { ports: { port: string }[] }) =>
        rule.ports.map(({ port }) => port),
      ),
      ...manifest('ServiceMonitor').spec.endpoints.map(({ port }: { port: string }) => port),
    ];
    expect(ports?.map(({ name }) => name)).toEqual(['metrics']);
    expect(new Set(names)).toEqual(new Set(['metrics']));
    expect(manifest('Service').spec.ports[0].port).toBe(ports?.[0]?.containerPort);
  });

  it('refer to what there is: Service, ConfigMap, image, the Secret that is mounted, replicas', () => {
    const site = kustomizations.find(({ folder }) => folder.endsWith('/site'));
    expect(manifest('StatefulSet').spec.serviceName).toBe(manifest('Service').metadata.name);
    for (const { spec } of [connectorPod, migratePod]) {
      const [{ envFrom, image, volumeMounts }] = spec.containers;
      expect(envFrom.map(({ configMapRef }) => configMapRef.name)).toEqual(
        site?.configMapGenerator?.map(({ name }) => name),
      );
      expect([image]).toEqual(site?.images?.map(({ name }) => name));
      expect(volumeMounts.map(({ name }) => name)).toEqual(spec.volumes.map(({ name }) => name));
    }
    const { metadata, spec } = manifest('StatefulSet');
    const [replicas] = kustomizations.flatMap((each) => each.replicas ?? []);
    expect(replicas).toEqual({ name: metadata.name, count: spec.replicas });
  });

  it('let Prometheus scrape as its own configuration does, under the job that the alert rules name', () => {
    const { global, scrape_configs: jobs } = parse(read('prometheus.yml'));
    const [endpoint] = manifest('ServiceMonitor').spec.endpoints;
    expect(endpoint).toMatchObject({ interval: global.scrape_interval, scrapeTimeout: global.scrape_timeout });
    expect(endpoint.relabelings).toEqual([{ targetLabel: 'job', replacement: jobs[0].job_name }]);
    expect(read('prometheus_rules.yml')).toContain(`{job="${jobs[0].job_name}"}`);
  });
});
