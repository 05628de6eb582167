// docs/operations.md names tests, messages, states and figures that there are.

import { globSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { READY_STATES } from '../../src/cli/run.ts';
import { environmentSchema } from '../../src/config.ts';
import { connectorStates } from '../../src/metrics/metrics.ts';
import { blocksOf, hasTest, headingsOf, read, rowsOf, sectionOf, testsIn } from './document.ts';

const PAGE = 'docs/operations.md';
const chapters = headingsOf(PAGE)
  .filter(({ text, level }) => level === 2 && text !== 'Three questions')
  .map(({ text }) => text);

interface Probe {
  readonly httpGet: { path: string; port: string };
  readonly periodSeconds: number;
  readonly timeoutSeconds: number;
  readonly failureThreshold: number;
}

interface Container {
  readonly env: { name: string; value: string }[];
  readonly ports: { name: string; containerPort: number }[];
  readonly startupProbe: Probe;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
}

describe(PAGE, () => {
  test.each(chapters)('%s: says what not to do, and what was tried', (chapter) => {
    const section = sectionOf(PAGE, chapter);
    expect(section).toMatch(/^\*\*Do not\*\* /m);
    const tests = testsIn(section);
    expect(tests).not.toEqual([]);
    for (const each of tests) expect(hasTest(each), `${each.file} has a test “${each.title}”`).toBe(true);
  });

  test('quotes messages of the connector', () => {
    const sources = globSync('{src,sql}/**/*.{ts,sql}', { cwd: join(import.meta.dirname, '../..') })
      .map((file) => read(file))
      .join('\n');
    const prose = read(PAGE).replace(/^- `test\/.*$/gm, '');
    const quotes = [...prose.matchAll(/“([^”]+)”/g)].map((match) => match[1] ?? '');
    expect(quotes.length).toBeGreaterThan(5);
    for (const quote of quotes) expect(sources).toContain(quote);
  });

  test('has every state with what the probes answer in it', () => {
    const states = rowsOf(sectionOf(PAGE, 'Probes')).map(([state, live, ready]) => [state, live, ready]);
    expect(states.toSorted()).toEqual(
      connectorStates.map((state) => [`\`${state}\``, '200', READY_STATES.has(state) ? '200' : '503']).toSorted(),
    );
  });

  test('has a pod that fits the defaults of the code and the health check of the image', () => {
    const [manifest = ''] = blocksOf(sectionOf(PAGE, 'Probes'), 'yaml');
    const pod = parse(manifest).spec.template.spec;
    const container = pod.containers[0] as Container;
    const { startupProbe, livenessProbe, readinessProbe } = container;
    expect(container.ports).toEqual([
      { name: 'metrics', containerPort: environmentSchema.shape.METRICS_PORT.parse(undefined) },
    ]);
    for (const { httpGet } of [startupProbe, livenessProbe, readinessProbe]) expect(httpGet.port).toBe('metrics');
    expect([startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => httpGet.path)).toEqual([
      '/healthz',
      '/healthz',
      '/readyz',
    ]);

    const check = /^HEALTHCHECK (.*) \\$/m.exec(read('Dockerfile'))?.[1] ?? '';
    const figure = (name: string) => Number(new RegExp(`--${name}=(\\d+)`).exec(check)?.[1]);
    expect(livenessProbe.periodSeconds).toBe(figure('interval'));
    expect(livenessProbe.timeoutSeconds).toBe(figure('timeout'));
    expect(livenessProbe.failureThreshold).toBe(figure('retries'));
    expect(startupProbe.periodSeconds).toBe(figure('start-interval'));
    expect(startupProbe.periodSeconds * startupProbe.failureThreshold).toBe(figure('start-period'));

    const timeout = container.env.find(({ name }) => name === 'SHUTDOWN_TIMEOUT_MS')?.value;
    const shutdownMs = environmentSchema.shape.SHUTDOWN_TIMEOUT_MS.parse(timeout);
    // What comes after it takes a second or two.
    expect(pod.terminationGracePeriodSeconds * 1000).toBeGreaterThanOrEqual(shutdownMs + 5000);
  });
});
