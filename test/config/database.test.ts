// How connections to PostgreSQL are made: hosts and ports.
import { describe, expect, it } from 'vitest';
import { databaseClient } from '../../src/config/database.ts';
import { FatalError } from '../../src/fatal.ts';
import { faults, NEEDED, read } from './configuration.ts';

describe('databaseClient', () => {
  const client = (environment: Record<string, string>) => databaseClient(read(environment));

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
