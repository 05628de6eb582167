// How the configuration has connections to PostgreSQL made: hosts, user, TLS.
import type { ClientConfig } from '../postgres/client.ts';
import { type Address, HOST_TIMEOUT_MS, Hosts } from '../postgres/hosts.ts';
import { tlsOf } from './database-tls.ts';
import type { DatabaseConfig } from './environment.ts';
import { wrong } from './read.ts';

/** For PostgresClient: the connection, without application name. Throws a FatalError on ports and on certificates that do not fit. */
export function databaseClient(config: DatabaseConfig): ClientConfig {
  const { DB_NAME: database, DB_USER: user, DB_PASSWORD: password } = config;
  const addresses = addressesOf(config);
  const wanted = config.DB_TARGET_SESSION_ATTRS ?? (addresses.length === 1 ? 'any' : 'primary');
  return {
    ...addresses[0],
    database,
    user,
    ...(password !== undefined && { password }),
    ...tlsOf(config),
    connectionTimeoutMillis: HOST_TIMEOUT_MS,
    // One that may be anything is connected to without a question before.
    ...((addresses.length > 1 || wanted !== 'any') && { hosts: new Hosts(addresses, wanted) }),
  };
}

function addressesOf({ DB_HOST: hosts, DB_PORT: ports }: DatabaseConfig): Address[] {
  if (ports.length > 1 && ports.length !== hosts.length)
    throw wrong([
      `DB_PORT must have one port, or one for each host in DB_HOST: there are ${ports.length} and ${hosts.length}.`,
    ]);
  return hosts.map((host, index) => ({ host, port: ports[index] ?? ports[0] ?? 5432 }));
}
