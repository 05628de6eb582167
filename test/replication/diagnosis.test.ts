// What an error of PostgreSQL or of the socket means, by its code.

import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { freePort } from '../../demo/ports.ts';
import { diagnose } from '../../src/replication/server/diagnosis.ts';

const withCode = (code: string) => Object.assign(new Error('text that nobody reads'), { code });

describe('diagnose', () => {
  it.each([
    ['28P01', 'fatal', 'DB_PASSWORD'],
    ['PASSWORD_MISSING', 'fatal', 'DB_PASSWORD_FILE'],
    ['28000', 'fatal', 'pg_hba.conf'],
    ['3D000', 'fatal', 'DB_NAME'],
    ['42501', 'fatal', 'REPLICATION'],
    ['42710', 'fatal', 'SLOT_NAME'],
    ['55006', 'wait', 'Another connector'],
    ['57P03', 'wait', 'starting up'],
    ['57P01', 'wait', 'shutting down'],
    ['53300', 'wait', 'max_connections'],
    ['53400', 'wait', 'max_replication_slots'],
    ['ECONNREFUSED', 'wait', 'DB_HOST'],
    ['CLOSED_BEFORE_LOGIN', 'wait', 'is no PostgreSQL'],
    ['ENOTFOUND', 'wait', 'DB_HOST'],
    ['EAI_AGAIN', 'wait', 'DB_HOST'],
    ['NO_SUCH_HOST', 'wait', 'DB_HOST'],
    ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'fatal', 'DB_SSLROOTCERT'],
    ['CERT_NOT_YET_VALID', 'fatal', 'clock'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'fatal', 'DB_HOST'],
    ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'fatal', 'ssl_ca_file'],
    ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED', 'fatal', 'DB_SSLCERT has expired'],
    ['ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED', 'fatal', 'DB_SSLCERT has expired'],
    ['ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE', 'fatal', 'DB_SSLCERT'],
    ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'wait', 'TLS 1.2'],
    ['EPROTO', 'wait', 'TLS 1.2'],
  ])('says of %s: %s', (code, kind, word) => {
    const diagnosis = diagnose(withCode(code));
    expect(diagnosis.kind).toBe(kind);
    expect(diagnosis.sentence).toContain(word);
  });

  it('waits for what it does not know, and names the code but never the text', () => {
    const diagnosis = diagnose(withCode('XX123'));
    expect(diagnosis).toEqual({
      kind: 'wait',
      sentence: 'The connection to PostgreSQL failed (XX123); trying again every second.',
    });
  });

  it.each([null, undefined, 'text', 7, new Error('no code'), { code: 7 }, new AggregateError([])])(
    'waits for %o, which has no code',
    (error) => {
      expect(diagnose(error).kind).toBe('wait');
    },
  );

  it('knows what pg says where nobody listens', async () => {
    const error = await new pg.Client({ host: '127.0.0.1', port: await freePort() })
      .connect()
      .catch((reason: unknown) => reason);
    expect(diagnose(error).sentence).toContain('does not answer');
  });

  it('knows what pg says where PostgreSQL offers no TLS', async () => {
    // https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL : 'N' is the refusal
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end('N'));
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const client = new pg.Client({ host: '127.0.0.1', port, ssl: true });
    client.on('error', () => undefined);
    const error = await client.connect().catch((reason: unknown) => reason);
    await new Promise((resolve) => server.close(resolve));
    const diagnosis = diagnose(error);
    expect(diagnosis.kind).toBe('fatal');
    expect(diagnosis.sentence).toContain('DB_SSLMODE');
  });
});
