// Which tests there are, by what they need: docs/testing.md says how each is run.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [
            '**/node_modules/**',
            'test/**/*.pg.test.ts',
            'test/scenarios/**',
            'test/chaos/**',
            'test/faults/kill.test.ts',
            'test/hapi/**',
            'test/compose/**',
            'test/grafana/**',
            'test/prometheus/**',
            'test/browser/**',
            'test/upgrade/**',
            'test/kubernetes/kustomize.test.ts',
          ],
          // They wait more than they compute: two cores do four files at once. Projects with different numbers of workers
          // cannot be in one group.
          maxWorkers: 4,
          sequence: { groupOrder: 1 },
          // What takes a second takes many on a machine that is busy.
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'postgres',
          include: ['test/**/*.pg.test.ts', 'test/scenarios/*.test.ts'],
          globalSetup: ['test/support/postgres-server.ts'],
          // One PostgreSQL server is shared by all files; each has its own database.
          maxWorkers: 3,
          sequence: { groupOrder: 2 },
          // More than the tests' own patience, so that what did not come is what fails.
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'embedded-fhir',
          include: ['test/hapi/*.test.ts'],
          exclude: [
            // What HAPI itself does.
            'test/hapi/facts*',
            // The embedded server has no $validate.
            'test/hapi/validate.test.ts',
            'test/hapi/sample-records.test.ts',
            // They stop HAPI and start it again.
            'test/hapi/own-*',
          ],
          globalSetup: [
            'test/support/postgres-server.ts',
            'test/hapi/embedded-server.ts',
            'test/hapi/version-table.ts',
          ],
          maxWorkers: 3,
          sequence: { groupOrder: 2 },
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      // On a PostgreSQL of its own, and best with both cores to itself.
      {
        test: {
          name: 'chaos',
          include: ['test/chaos/*.test.ts'],
          sequence: { groupOrder: 3 },
          testTimeout: 600_000,
        },
      },
      {
        test: {
          name: 'kill',
          include: ['test/faults/kill.test.ts'],
          globalSetup: ['test/support/postgres-server.ts'],
          // A process is started fifty times.
          testTimeout: 600_000,
          hookTimeout: 120_000,
        },
      },
      // The projects from here on need more than npm packages. `npm test` leaves them out.
      {
        test: {
          name: 'hapi',
          include: ['test/hapi/*.test.ts'],
          exclude: ['test/hapi/own-*'],
          globalSetup: ['test/support/postgres-server.ts', 'test/hapi/hapi-server.ts', 'test/hapi/version-table.ts'],
          maxWorkers: 2,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'own-hapi',
          include: ['test/hapi/own-*.test.ts'],
          globalSetup: ['test/support/postgres-server.ts', 'test/hapi/own-address.ts'],
          // One HAPI at a time, on one port: its start takes both cores.
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'prometheus',
          include: ['test/prometheus/*.test.ts'],
          globalSetup: ['test/support/postgres-server.ts'],
          maxWorkers: 4,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'kubernetes',
          include: ['test/kubernetes/kustomize.test.ts'],
        },
      },
      {
        test: {
          name: 'browser',
          include: ['test/browser/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'upgrade',
          include: ['test/upgrade/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'compose',
          include: ['test/compose/*.test.ts'],
          // Images are built and HAPI starts, on two cores, more than once.
          testTimeout: 300_000,
          hookTimeout: 900_000,
        },
      },
      // Alone in needing the real Grafana: only the workflow runs it.
      {
        test: {
          name: 'grafana',
          include: ['test/grafana/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 900_000,
        },
      },
    ],
  },
});
