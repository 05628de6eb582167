// Reading the environment: every fault told at once and no value ever repeated; defaults; secrets from files.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { databaseSchema } from '../../src/config/environment.ts';
import { readConfig } from '../../src/config/read.ts';
import { faults, folderOfFiles, NEEDED, read } from './configuration.ts';

const { path: folder, file } = folderOfFiles();

describe('readConfig', () => {
  it('needs three variables and has defaults for the others', () => {
    expect(read({})).toEqual({
      ...NEEDED,
      DB_HOST: ['localhost'],
      DB_PORT: [5432],
      FHIR_ALLOW_HTTP: false,
      FHIR_AUTH: 'none',
      FHIR_CONCURRENCY: 32,
      FHIR_BATCH_SIZE: 1,
      FHIR_TIMEOUT_MS: 30_000,
      FHIR_PROFILE: 'us-core',
      FHIR_RESOURCES: ['Patient'],
      FHIR_UPDATE: 'by-id',
      FHIR_DELETE: 'deactivate',
      SLOT_NAME: 'fhir_outbox_slot',
      PUBLICATION_NAME: 'fhir_outbox_pub',
      SHARD_COUNT: 1,
      WORKER_ID: expect.stringMatching(/./),
      MAX_RETRIES: 5,
      RETENTION_DAYS: 90,
      SHUTDOWN_TIMEOUT_MS: 10_000,
      METRICS_HOST: '0.0.0.0',
      METRICS_PORT: 9464,
      OUTBOX_LAG_ALERT_SECONDS: 30,
      LOG_LEVEL: 'info',
    });
  });

  it('says of each missing variable what it is', () => {
    const lines = faults({});
    expect(lines.map((line) => line.split(' is not set: ')[0])).toEqual(['DB_NAME', 'DB_USER', 'FHIR_SERVER']);
    expect(lines[0]).toBe('DB_NAME is not set: Database with the health tables.');
  });

  it('takes an empty variable for one that is not set', () => {
    expect(read({ DB_PORT: '', LOG_LEVEL: '', DB_PASSWORD: '', WORKER_ID: '' })).toMatchObject({
      DB_PORT: [5432],
      LOG_LEVEL: 'info',
    });
    expect(faults({ ...NEEDED, DB_NAME: '' })).toEqual(['DB_NAME is not set: Database with the health tables.']);
  });

  it('tells every fault at once, each by its variable, and repeats no value', () => {
    const wrong = {
      DB_PORT: 'hush1',
      DB_SSLMODE: 'hush2',
      FHIR_SERVER: 'hush3',
      FHIR_ALLOW_HTTP: 'hush10',
      FHIR_AUTH: 'hush11',
      FHIR_TOKEN: 'hush 12',
      FHIR_TOKEN_URL: 'hush13',
      FHIR_CONCURRENCY: '0',
      FHIR_TIMEOUT_MS: '1.5e2.7hush4',
      FHIR_UPDATE: 'hush5',
      FHIR_DELETE: 'hush6',
      SLOT_NAME: "hush7'; DROP",
      PUBLICATION_NAME: 'Hush8',
      MAX_RETRIES: '101',
      SHUTDOWN_TIMEOUT_MS: '-1',
      METRICS_PORT: '65536',
      LOG_LEVEL: 'hush9',
    };
    const lines = faults({ ...NEEDED, ...wrong });
    expect(lines.map((line) => line.split(' ')[0]).toSorted()).toEqual(Object.keys(wrong).toSorted());
    expect(lines.join('\n')).not.toMatch(/hush/i);
    expect(lines).toContain('DB_SSLMODE must be disable, require or verify-full.');
    expect(lines).toContain('FHIR_CONCURRENCY must be at least 1.');
    expect(lines).toContain('DB_PORT must be a number.');
    for (const line of lines) expect(line).toMatch(/^[A-Z_]+ (must|may) .*\.$/);
  });

  it.each(['ftp://fhir.example.com', 'fhir.example.com/fhir', 'https://', '/fhir'])(
    'refuses the base URL %j',
    (url) => {
      expect(faults({ ...NEEDED, FHIR_SERVER: url })).toEqual([
        'FHIR_SERVER must be an http or https address, such as https://fhir.example.com/fhir.',
      ]);
    },
  );

  it('leaves slashes at the end of the base URL off', () => {
    expect(read({ FHIR_SERVER: 'http://localhost:8080/fhir//' }).FHIR_SERVER).toBe('http://localhost:8080/fhir');
  });

  it('reads whole numbers only', () => {
    expect(faults({ ...NEEDED, FHIR_CONCURRENCY: '1.5' })).toEqual(['FHIR_CONCURRENCY must be a whole number.']);
  });

  it('ignores variables that it does not know, and cannot be changed afterwards', () => {
    const config = read({ PATH: '/bin' });
    expect(config).not.toHaveProperty('PATH');
    expect(Object.isFrozen(config)).toBe(true);
  });

  it('asks commands that speak to the database alone for nothing else', () => {
    expect(readConfig(databaseSchema, { DB_NAME: 'health', DB_USER: 'connector' })).toEqual({
      DB_HOST: ['localhost'],
      DB_PORT: [5432],
      DB_NAME: 'health',
      DB_USER: 'connector',
    });
  });
});

describe('a secret from a file', () => {
  it('is what the file holds, without the line break at its end', () => {
    expect(read({ DB_PASSWORD_FILE: file('unix', ' pass word \n') }).DB_PASSWORD).toBe(' pass word ');
    expect(read({ DB_PASSWORD_FILE: file('windows', 'password\r\n') }).DB_PASSWORD).toBe('password');
    expect(read({ DB_PASSWORD_FILE: file('bare', 'two\n\n') }).DB_PASSWORD).toBe('two\n');
  });

  it('is not set where the file is empty', () => {
    expect(read({ DB_PASSWORD_FILE: file('empty', '\n') })).not.toHaveProperty('DB_PASSWORD');
  });

  it('may be given one way only', () => {
    const environment = { ...NEEDED, DB_PASSWORD: 'hush1', DB_PASSWORD_FILE: file('both', 'hush2') };
    expect(faults(environment)).toEqual(['DB_PASSWORD and DB_PASSWORD_FILE are both set: keep one.']);
  });

  it('is not read for ever from what has no end, and not from a folder', () => {
    expect(faults({ ...NEEDED, DB_PASSWORD_FILE: '/dev/zero' })).toEqual([
      'The file that DB_PASSWORD_FILE names cannot be read (no file of a megabyte at most).',
    ]);
    expect(faults({ ...NEEDED, DB_PASSWORD_FILE: folder })).toEqual([
      'The file that DB_PASSWORD_FILE names cannot be read (no file of a megabyte at most).',
    ]);
    expect(read({ DB_PASSWORD_FILE: file('most', 'x'.repeat(1024 * 1024)) }).DB_PASSWORD).toHaveLength(1024 * 1024);
  });

  it('is missed together with all other faults, by its variable and not by its path', () => {
    const lines = faults({ ...NEEDED, DB_PASSWORD_FILE: join(folder, 'hush'), DB_PORT: 'x' });
    expect(lines).toEqual([
      'The file that DB_PASSWORD_FILE names cannot be read (ENOENT).',
      'DB_PORT must be a number.',
    ]);
  });
});
