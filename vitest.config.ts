import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [
            'test/**/*.pg.test.ts',
            'test/scenarios/**',
            'test/hapi/**',
            'test/compose/**',
            'test/prometheus/**',
          ],
        },
      },
      {
        test: {
          name: 'postgres',
          include: ['test/**/*.pg.test.ts', 'test/scenarios/*.test.ts'],
          globalSetup: ['test/support/postgres-server.ts'],
          // One PostgreSQL server is shared by all files (each has its own database), and two cores by everything.
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
