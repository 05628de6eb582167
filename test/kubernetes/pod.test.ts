// What the pods say fits the code, the image and what was measured.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { environmentSchema, migrateSchema } from '../../src/config/environment.ts';
import { readConfig } from '../../src/config/read.ts';
import { read, rowsOf } from '../docs/document.ts';
import { connectorPod, manifest, migratePod, type Pod, settings } from './manifests.ts';

const folder = mkdtempSync(join(tmpdir(), 'secrets-'));
afterAll(() => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, 'secret'), 'not-a-secret\n');

const [container] = connectorPod.spec.containers;
const SECRETS = '/run/secrets/fhir-connector/';

/** What a pod's process gets, with files that are here in place of the Secret's. */
function environmentOf(pod: Pod): Record<string, string> {
  const own = pod.spec.containers[0].env.map(({ name, value = 'of a Secret' }) => [name, value] as const);
  const all = { ...settings.given, ...settings.others, ...Object.fromEntries(own) };
  return Object.fromEntries(
    Object.entries(all).map(([name, value]) => [name, value.startsWith(SECRETS) ? join(folder, 'secret') : value]),
  );
}

const PODS = [
  ['the connector', connectorPod, environmentSchema],
  ['migrate', migratePod, migrateSchema],
] as const;

describe.each(PODS)('the pod of %s', (_, pod, schema) => {
  it('has a configuration that the program takes', () => {
    expect(readConfig(schema, environmentOf(pod))).toMatchObject({
      DB_HOST: ['db.example.com'],
      DB_PASSWORD: 'not-a-secret',
    });
  });

  it.each(Object.entries(environmentOf(pod)))('sets %s, which the program knows', (name, value) => {
    if (name in environmentSchema.shape) return;
    expect(name).toMatch(/_FILE$/);
    // A file that is missing is complained of only by who reads it.
    const environment = { ...environmentOf(pod), [name]: `${value}.missing` };
    expect(() => readConfig(schema, environment)).toThrow(`The file that ${name} names cannot be read`);
  });

  it('has its secrets as files that its group may read, where the variables look for them', () => {
    const [{ volumeMounts, env }] = pod.spec.containers;
    expect(volumeMounts.map(({ mountPath }) => `${mountPath}/`)).toEqual([SECRETS]);
    const files = env.filter(({ name }) => name.endsWith('_FILE')).map(({ value = '' }) => value);
    expect(files).toEqual([`${SECRETS}db-password`]);
    expect(pod.spec.volumes).toMatchObject([{ secret: { defaultMode: 0o440 } }]);
  });

  it('may do no more than it needs, as the user of the image', () => {
    const [, user = '', group = ''] = /^USER (\d+):(\d+)$/m.exec(read('Dockerfile')) ?? [];
    expect(pod.spec).toMatchObject({
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: Number(user),
        runAsGroup: Number(group),
        fsGroup: Number(group),
        seccompProfile: { type: 'RuntimeDefault' },
      },
    });
    expect(pod.spec.containers[0].securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  });
});

describe('the pod of migrate', () => {
  it('runs migrate, with a Secret of its own', () => {
    expect(migratePod.spec.containers[0].args).toEqual(['migrate']);
    const [own, others] = [migratePod, connectorPod].map(({ spec }) => spec.volumes[0]?.secret.secretName);
    expect(own).not.toBe(others);
  });
});

describe('the pod of the connector', () => {
  const environment = environmentOf(connectorPod);

  it('listens where probes and Prometheus ask', () => {
    expect(environment.METRICS_HOST).toBe('0.0.0.0');
    expect(container.ports).toEqual([{ name: 'metrics', containerPort: Number(environment.METRICS_PORT) }]);
  });

  it('is asked as the image is by Docker, and by /readyz for a rollout alone', () => {
    const { startupProbe, livenessProbe, readinessProbe } = container;
    const paths = [startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => httpGet.path);
    expect(paths).toEqual(['/healthz', '/healthz', '/readyz']);
    const check = /^HEALTHCHECK (.*) \\$/m.exec(read('Dockerfile'))?.[1] ?? '';
    const figure = (name: string) => Number(new RegExp(`--${name}=(\\d+)`).exec(check)?.[1]);
    expect(livenessProbe).toMatchObject({
      periodSeconds: figure('interval'),
      timeoutSeconds: figure('timeout'),
      failureThreshold: figure('retries'),
    });
    expect(startupProbe.periodSeconds).toBe(figure('start-interval'));
    expect(startupProbe.periodSeconds * startupProbe.failureThreshold).toBe(figure('start-period'));
  });

  it('has time to finish before it is killed', () => {
    const shutdownMs = environmentSchema.shape.SHUTDOWN_TIMEOUT_MS.parse(environment.SHUTDOWN_TIMEOUT_MS);
    // What comes after it takes a second or two.
    expect((connectorPod.spec.terminationGracePeriodSeconds ?? 0) * 1000).toBeGreaterThanOrEqual(shutdownMs + 5000);
  });

  it('may reach names, PostgreSQL and the FHIR server', () => {
    const rules: { ports: { port: number }[] }[] = manifest('NetworkPolicy').spec.egress;
    const fhir = new URL(environment.FHIR_SERVER ?? '');
    const fhirPort = Number(fhir.port || (fhir.protocol === 'https:' ? 443 : 80));
    expect(new Set(rules.flatMap(({ ports }) => ports.map(({ port }) => port)))).toEqual(
      new Set([53, Number(environment.DB_PORT), fhirPort]),
    );
  });

  it('has more memory than any workload took that was measured, and the processor of some hundred events a second', () => {
    const rates = read('docs/performance.md').split('<!-- rates -->')[1] ?? '';
    const megabytes = rowsOf(rates)
      .filter(([name = '']) => !name.startsWith('pg-'))
      .map((row) => Number(row[3] || 0));
    const most = Math.max(...megabytes);
    expect(most).toBeGreaterThan(100);
    const mebibytes = (quantity = '') => Number(/^(\d+)Mi$/.exec(quantity)?.[1]) * 1.048576;
    expect(mebibytes(container.resources.limits.memory)).toBeGreaterThan(1.25 * most);
    const event = rowsOf(rates).find(([name = '']) => name.startsWith('The same, with its start'));
    const millicores = Number(/^(\d+)m$/.exec(container.resources.requests.cpu ?? '')?.[1]);
    expect(millicores / Number(event?.[2])).toBeGreaterThan(400);
  });
});
