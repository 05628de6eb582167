// What is run that others built: images by their exact versions, actions by their commits, programs by their hashes or versions.
import { globSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import packageJson from '../../package.json' with { type: 'json' };

const read = (path: string) => readFileSync(path, 'utf8');
const workflows = globSync('.github/workflows/*.yml');
const compose = parse(read('docker-compose.yml'), { merge: true }) as {
  services: Record<string, { image: string; build?: string }>;
};
const matches = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, found = '']) => found);

describe('images', () => {
  const built = matches(read('Dockerfile'), /^FROM (\S+)/gm);
  const run = Object.values(compose.services).filter(({ build }) => build === undefined);
  const images = [...built, ...run.map(({ image }) => image)];

  test.each(images)('%s has its exact version', (image) => {
    // Two numbers at least, such as postgres:17.10; a digest beside it is welcome.
    expect(image).toMatch(/^[\w./-]+:v?\d+(\.\d+)+(-[\w.]+)*(@sha256:[0-9a-f]{64})?$/);
    if (/^node:/.test(image)) expect(image).toMatch(/^node:\d+\.\d+\.\d+-/);
  });

  test('are those of compose where a test starts one', () => {
    const files = globSync('test/**/*.ts').filter((file) =>
      /from '(@testcontainers\/\w+|testcontainers)'/.test(read(file)),
    );
    expect(files.length).toBeGreaterThan(2);
    for (const file of files) expect(read(file)).not.toMatch(/'[\w./-]+:(?:latest|v?\d[\w.-]*)'/);
  });

  test('that are built begin with the same one in every stage', () => {
    expect(built.length).toBe(2);
    expect(new Set(built).size).toBe(1);
  });

  test('of a site on Kubernetes have the version of package.json, which is the newest release in CHANGELOG.md', () => {
    const { images: named } = parse(read('kubernetes/site/kustomization.yaml')) as { images: { newTag: string }[] };
    const [released] = matches(read('CHANGELOG.md'), /^## \[(\d.*)\] - \d{4}-\d\d-\d\d$/gm);
    expect(released).toMatch(/^\d+\.\d+\.\d+$/);
    expect([packageJson.version, ...named.map(({ newTag }) => newTag)]).toEqual([released, released]);
  });

  test('in workflows are only those of PostgreSQL, of whose majors the newest minor is tested', () => {
    const used = workflows.flatMap((file) =>
      matches(read(file), /(?:^|[\s'"[])((?:[\w.-]+\/)*[\w-]+:(?:latest|v?\d[\w.-]*))(?=['"\s,\]]|$)/gm),
    );
    expect(used).toEqual(['postgres:15', 'postgres:16', 'postgres:17', 'postgres:18']);
  });
});

test('the image of the connector has no package manager', () => {
  const [, last = ''] = read('Dockerfile')
    .split(/^FROM .*$/m)
    .slice(-2);
  expect(last).toMatch(/^RUN rm -rf \/usr\/local\/lib\/node_modules \/usr\/local\/bin\/npm /m);
  expect(last).not.toMatch(/^RUN .*\b(?:apt-get|apk|npm (?:ci|install)|curl|wget)\b/m);
});

test('actions are pinned to commits, and see no more than they need', () => {
  const used = workflows.flatMap((file) => matches(read(file), /uses: (.*)$/gm));
  expect(used.length).toBeGreaterThan(10);
  for (const action of used) expect(action).toMatch(/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  for (const file of workflows) {
    const workflow = parse(read(file)) as { permissions: unknown; on: Record<string, unknown> };
    expect(workflow.permissions).toEqual({ contents: 'read' });
    // With it, a workflow would run what a stranger proposes with rights on this repository.
    expect(workflow.on).not.toHaveProperty('pull_request_target');
    for (const [checkout] of read(file).matchAll(/uses: actions\/checkout@.*\n.*\n.*/g))
      expect(checkout).toContain('persist-credentials: false');
  }
});

test('programs that the checks fetch have their version or their hash', () => {
  for (const module of matches(read('.ci/run'), /go install (\S+)/g)) expect(module).toMatch(/@v\d+\.\d+\.\d+$/);
  expect(read('test/upgrade/programs')).toContain('--require-hashes');
});

test('newer versions are proposed each week for whatever is pinned', () => {
  const { updates } = parse(read('.github/dependabot.yml')) as {
    updates: {
      'package-ecosystem': string;
      directory?: string;
      directories?: string[];
      schedule: { interval: string };
    }[];
  };
  const watched = updates.flatMap(({ 'package-ecosystem': kind, directory, directories = [] }) =>
    [directory, ...directories].filter((each) => each !== undefined).map((each) => `${kind} ${each}`),
  );
  expect(watched.toSorted()).toEqual([
    'docker /',
    'docker-compose /',
    'github-actions /',
    'npm /',
    'npm /test/postgres-versions',
    'pip /test/upgrade',
  ]);
  for (const { schedule } of updates) expect(schedule.interval).toBe('weekly');
});
