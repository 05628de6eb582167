// The files a deployment starts from agree with each other and with the code.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const compose = read('docker-compose.yml');
const pairs = (text: string, pattern: RegExp) =>
  Object.fromEntries([...text.matchAll(pattern)].map(([, name = '', value = '']) => [name, value]));

describe('the deployment files', () => {
  test('name in .env.example exactly what compose takes from .env, with the same defaults', () => {
    const taken = pairs(compose, /\$\{(\w+):-([^}]*)\}/g);
    expect(Object.keys(taken).length).toBeGreaterThan(10);
    expect(pairs(read('.env.example'), /^(\w+)=(.*)$/gm)).toEqual(taken);
  });

  test('publish every port on the loopback address only', () => {
    const published = [...compose.matchAll(/^\s+ports: \['(.*)'\]$/gm)].map(([, port]) => port);
    expect(published.map((port) => port?.split(':').at(-1))).toEqual(['5432', '8080', '9464', '9090', '3000']);
    for (const port of published) expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  test('let the connector finish before the container is killed', () => {
    const connector = /^ {2}connector:\n(?: {4}.*\n)+/m.exec(compose)?.[0] ?? '';
    const graceSeconds = Number(/stop_grace_period: (\d+)s/.exec(connector)?.[1]);
    const shutdownMs = Number(/SHUTDOWN_TIMEOUT_MS: (\d+)/.exec(connector)?.[1]);
    expect(shutdownMs).toBeGreaterThan(0);
    expect(graceSeconds * 1000).toBeGreaterThan(shutdownMs);
  });

  test('give PostgreSQL what logical replication needs, and a limit to the WAL it keeps', () => {
    const settings = pairs(read('postgres.conf'), /^(\w+) = (\S+)/gm);
    expect(settings).toMatchObject({ wal_level: 'logical', listen_addresses: "'*'", wal_sender_timeout: '10s' });
    expect(Number(settings.max_replication_slots)).toBeGreaterThan(1);
    expect(Number(settings.max_wal_senders)).toBeGreaterThan(1);
    expect(settings.max_slot_wal_keep_size).toMatch(/^\d+GB$/);
  });

  test('let Prometheus scrape the connector every five seconds', () => {
    const prometheus = read('prometheus.yml');
    expect(prometheus).toMatch(/scrape_interval: 5s/);
    expect(prometheus).toMatch(/job_name: fhir_connector\n\s+static_configs:\n\s+- targets: \['connector:9464'\]/);
  });

  test('give Prometheus its rules, under the name that its configuration has', () => {
    expect(read('prometheus.yml')).toContain("rule_files: ['prometheus_rules.yml']");
    expect(compose).toContain('./prometheus_rules.yml:/etc/prometheus/prometheus_rules.yml:ro');
    expect(compose).toContain('./prometheus.yml:/etc/prometheus/prometheus.yml:ro');
  });

  test('put only production files into the image, and run it as no root', () => {
    const dockerfile = read('Dockerfile');
    expect(dockerfile).toMatch(/npm ci --omit=dev/);
    expect(dockerfile).toMatch(/^USER 1000:1000$/m);
    expect(read('.dockerignore').match(/^[^#\n].*$/gm)).toEqual([
      '*',
      '!package.json',
      '!package-lock.json',
      '!sql',
      '!src',
    ]);
  });

  test('start the connector in the image as npm start does, and compile it with the same flags', () => {
    const dockerfile = read('Dockerfile');
    const start = packageJson.scripts.start.split(' ');
    const entrypoint = JSON.parse(/^ENTRYPOINT (.+)$/m.exec(dockerfile)?.[1] ?? '[]');
    const command = JSON.parse(/^CMD (.+)$/m.exec(dockerfile)?.[1] ?? '[]');
    expect([...entrypoint, ...command]).toEqual(start);
    expect(dockerfile).toContain(`\nRUN ${entrypoint.join(' ')} --help >/dev/null\n`);
  });
});
