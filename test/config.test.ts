// The configuration: every fault told at once and no value ever repeated; defaults; secrets from files; TLS by host.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { databaseClient, databaseSchema, environmentSchema, readConfig, shardOf } from '../src/config.ts';
import { FatalError } from '../src/fatal.ts';

const NEEDED = { DB_NAME: 'health', DB_USER: 'connector', FHIR_SERVER: 'https://fhir.example.com/fhir' };

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'config-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const read = (environment: Record<string, string>) => readConfig(environmentSchema, { ...NEEDED, ...environment });

/** The lines of the error, without the first. */
function faults(environment: Record<string, string | undefined>): string[] {
  try {
    readConfig(environmentSchema, environment);
  } catch (error) {
    expect(error).toBeInstanceOf(FatalError);
    const [title, ...lines] = (error as FatalError).message.split('\n');
    expect(title).toBe('The configuration is wrong:');
    return lines.map((line) => line.replace(/^ {2}- /, ''));
  }
  throw new Error('The configuration was accepted.');
}

describe('readConfig', () => {
  it('needs three variables and has defaults for the others', () => {
    expect(read({})).toEqual({
      ...NEEDED,
      DB_HOST: ['localhost'],
      DB_PORT: [5432],
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

  it('may be given one way only', () => {
    const environment = { ...NEEDED, DB_PASSWORD: 'hush1', DB_PASSWORD_FILE: file('both', 'hush2') };
    expect(faults(environment)).toEqual(['DB_PASSWORD and DB_PASSWORD_FILE are both set: keep one.']);
  });

  it('is missed together with all other faults, by its variable and not by its path', () => {
    const lines = faults({ ...NEEDED, DB_PASSWORD_FILE: join(folder, 'hush'), DB_PORT: 'x' });
    expect(lines).toEqual([
      'The file that DB_PASSWORD_FILE names cannot be read (ENOENT).',
      'DB_PORT must be a number.',
    ]);
  });
});

describe('databaseClient', () => {
  const client = (environment: Record<string, string>) => databaseClient(read(environment));

  it.each(['localhost', '127.0.0.1', '127.8.9.1', '::1', '/var/run/postgresql'])('goes without TLS to %s', (host) => {
    expect(client({ DB_HOST: host }).ssl).toBe(false);
  });

  it.each(['postgres', 'db.example.com', '10.0.0.1', 'localhost.example.com', '1270.0.0.1'])(
    'goes with verified TLS to %s',
    (host) => {
      expect(client({ DB_HOST: host }).ssl).toEqual({ rejectUnauthorized: true });
    },
  );

  it('does what DB_SSLMODE says, whatever the host', () => {
    expect(client({ DB_HOST: 'db.example.com', DB_SSLMODE: 'disable' }).ssl).toBe(false);
    expect(client({ DB_SSLMODE: 'require' }).ssl).toEqual({ rejectUnauthorized: false });
    expect(client({ DB_SSLMODE: 'verify-full' }).ssl).toEqual({ rejectUnauthorized: true });
  });

  it('verifies against the certificates of DB_SSLROOTCERT', () => {
    const DB_SSLROOTCERT = file('ca.pem', 'certificates');
    expect(client({ DB_HOST: 'db', DB_SSLROOTCERT }).ssl).toEqual({ rejectUnauthorized: true, ca: 'certificates' });
  });

  it('says when they cannot be read, by the variable and not by the path', () => {
    expect(() => client({ DB_HOST: 'db', DB_SSLROOTCERT: join(folder, 'hush') })).toThrow(
      new FatalError('The file that DB_SSLROOTCERT names cannot be read (ENOENT).'),
    );
  });

  it('hands the connection on', () => {
    expect(client({ DB_HOST: 'localhost', DB_PORT: '6000', DB_PASSWORD: 'secret' })).toMatchObject({
      host: 'localhost',
      port: 6000,
      database: 'health',
      user: 'connector',
      password: 'secret',
    });
    expect(client({})).not.toHaveProperty('password');
    expect(client({})).not.toHaveProperty('hosts');
  });

  it('has the hosts to choose from where there are several, each with its port, or with the one for all', () => {
    expect(client({ DB_HOST: 'one, two', DB_PORT: '5433' }).hosts).toMatchObject({
      addresses: [
        { host: 'one', port: 5433 },
        { host: 'two', port: 5433 },
      ],
      wanted: 'primary',
    });
    const each = client({ DB_HOST: '127.0.0.1,::1', DB_PORT: '1,2', DB_TARGET_SESSION_ATTRS: 'read-write' });
    expect(each).toMatchObject({ host: '127.0.0.1', port: 1, ssl: false });
    expect(each.hosts).toMatchObject({ addresses: [{ port: 1 }, { host: '::1', port: 2 }], wanted: 'read-write' });
    expect(client({ DB_HOST: 'one,two', DB_TARGET_SESSION_ATTRS: 'any' }).hosts).toMatchObject({ wanted: 'any' });
    expect(client({ DB_TARGET_SESSION_ATTRS: 'primary' }).hosts).toMatchObject({ wanted: 'primary' });
    expect(client({ DB_TARGET_SESSION_ATTRS: 'any' })).not.toHaveProperty('hosts');
  });

  it('goes with verified TLS where one of several hosts is another machine', () => {
    expect(client({ DB_HOST: 'localhost,db.example.com' }).ssl).toEqual({ rejectUnauthorized: true });
  });

  it('refuses ports that do not fit the hosts, and what is missing between commas', () => {
    expect(() => client({ DB_HOST: 'one,two,three', DB_PORT: '1,2' })).toThrow(
      new FatalError(
        'The configuration is wrong:\n  - DB_PORT must have one port, or one for each host in DB_HOST: there are 2 and 3.',
      ),
    );
    expect(faults({ ...NEEDED, DB_HOST: 'one,,two', DB_PORT: '1,,2', DB_TARGET_SESSION_ATTRS: 'standby' })).toEqual([
      'DB_HOST must not be empty.',
      'DB_PORT must be a number.',
      'DB_TARGET_SESSION_ATTRS must be any, read-write or primary.',
    ]);
  });
});

describe('shardOf', () => {
  const shard = (environment: Record<string, string>, host = 'db-host') => shardOf(read(environment), host);

  it('is all where there is one', () => {
    expect(shard({})).toEqual({ index: 0, count: 1 });
    expect(shard({}, 'fhir-connector-3')).toEqual({ index: 0, count: 1 });
  });

  it('is what SHARD_INDEX says, or the number of the pod: of twice as many each shard has two', () => {
    expect(shard({ SHARD_COUNT: '4', SHARD_INDEX: '2' }, 'fhir-connector-1')).toEqual({ index: 2, count: 4 });
    expect(shard({ SHARD_COUNT: '4' }, 'fhir-connector-3')).toEqual({ index: 3, count: 4 });
    expect(shard({ SHARD_COUNT: '4' }, 'fhir-connector-7')).toEqual({ index: 3, count: 4 });
  });

  it.each([
    [{ SHARD_COUNT: '4' }, 'SHARD_INDEX is not set, and the name of this host does not end in a number'],
    [{ SHARD_COUNT: '4', SHARD_INDEX: '4' }, 'SHARD_INDEX must be less than SHARD_COUNT, which is 4'],
    [{ SHARD_INDEX: '1' }, 'SHARD_INDEX must be less than SHARD_COUNT, which is 1'],
    [{ SHARD_COUNT: '10', SHARD_INDEX: '0', SLOT_NAME: 's'.repeat(56) }, 'SLOT_NAME is too long'],
  ])('is refused for %j', (environment, sentence) => {
    expect(() => shard(environment)).toThrow(sentence);
  });
});
