// Which failures of PostgreSQL are waited out and which are thrown.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';
import pg from 'pg';
import pino from 'pino';
import { describe, expect, it } from 'vitest';
import { persistently } from '../../src/outbox/tables/outages.ts';

const log = pino({ enabled: false });
const forEver = new AbortController().signal;
const withCode = (code: string) =>
  Object.assign(new Error('the values of a row'), { code, detail: 'more values of a row' });

describe('persistently', () => {
  /** True when it waits to try again (a stop then ends the wait), false when the error was thrown. */
  async function isWaitedOut(error: unknown): Promise<boolean> {
    const over = new AbortController();
    const stopped = new Error('stopped');
    const working = persistently(() => Promise.reject(error), log, over.signal).catch((reason: unknown) => reason);
    await new Promise((resolve) => setImmediate(resolve));
    over.abort(stopped);
    const reason = await working;
    expect([error, stopped]).toContain(reason);
    return reason === stopped;
  }

  it.each([
    ['57P01', 'admin_shutdown'],
    ['57P03', 'cannot_connect_now'],
    ['57014', 'query_canceled'],
    ['53300', 'too_many_connections'],
    ['53100', 'disk_full'],
    ['55P03', 'lock_not_available'],
    ['40001', 'serialization_failure'],
    ['40P01', 'deadlock_detected'],
    ['08006', 'connection_failure'],
    ['25006', 'read_only_sql_transaction, on a server that became a standby'],
    ['28P01', 'invalid_password, while it is changed'],
    ['XX000', 'internal_error'],
    ['58030', 'io_error'],
    ['ECONNREFUSED', 'of the socket'],
    ['ECONNRESET', 'of the socket'],
    ['EAI_AGAIN', 'of the resolver'],
  ])('waits %s out (%s)', async (code) => {
    expect(await isWaitedOut(withCode(code))).toBe(true);
  });

  it.each([
    ['22P02', 'invalid_text_representation'],
    ['22003', 'numeric_value_out_of_range'],
    ['23505', 'unique_violation'],
    ['23514', 'check_violation'],
    ['21000', 'cardinality_violation'],
    ['54000', 'program_limit_exceeded, by what is too long for an index'],
    ['54001', 'statement_too_complex'],
    ['42P01', 'undefined_table'],
    ['42501', 'insufficient_privilege'],
    ['42601', 'syntax_error'],
    ['0A000', 'feature_not_supported'],
  ])('throws %s at once (%s)', async (code) => {
    expect(await isWaitedOut(withCode(code))).toBe(false);
  });

  it('throws what is a bug of ours at once', async () => {
    expect(await isWaitedOut(new TypeError('x is not a function'))).toBe(false);
    expect(await isWaitedOut(new RangeError('too large'))).toBe(false);
    expect(await isWaitedOut('no error at all')).toBe(false);
    // Node gives its own complaints about arguments a code.
    expect(await isWaitedOut(Object.assign(new TypeError('bad'), { code: 'ERR_INVALID_ARG_TYPE' }))).toBe(false);
  });

  it('tries again after a second, until there is an answer', async () => {
    const triedAt: number[] = [];
    const answer = await persistently(
      async () => {
        triedAt.push(performance.now());
        if (triedAt.length < 3) throw withCode('57P03');
        return 'answer';
      },
      log,
      forEver,
    );
    expect(answer).toBe('answer');
    const [first = 0, second = 0, third = 0] = triedAt;
    for (const wait of [second - first, third - second]) {
      expect(wait).toBeGreaterThan(990);
      expect(wait).toBeLessThan(2000);
    }
  });

  it('tries even when it is over: what succeeds at once is no wait', async () => {
    await expect(persistently(async () => 'answer', log, AbortSignal.abort())).resolves.toBe('answer');
  });

  it('logs the code and never the text, which quotes rows', async () => {
    const lines: string[] = [];
    const recording = pino({ level: 'trace' }, { write: (line: string) => lines.push(line) });
    const over = new AbortController();
    const working = persistently(() => Promise.reject(withCode('57P03')), recording, over.signal);
    await expect.poll(() => lines.length).toBe(1);
    over.abort(new Error('stopped'));
    await expect(working).rejects.toThrow('stopped');
    expect(lines[0]).toContain('57P03');
    expect(lines[0]).not.toContain('values of a row');
  });
});

describe('a connection that breaks in the middle of a query', () => {
  it('is waited out: pg gives that error no code', async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      // AuthenticationOk, ReadyForQuery; then the connection is closed at the first query.
      // https://www.postgresql.org/docs/current/protocol-message-formats.html
      socket.once('data', () => {
        socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49]));
        socket.once('data', () => socket.destroy());
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = new pg.Client({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, user: 'nobody' });
    client.on('error', () => undefined);
    await client.connect();
    let tries = 0;
    const answer = await persistently(
      async () => {
        tries += 1;
        return tries === 1 ? await client.query('SELECT 1') : 'answered on another connection';
      },
      log,
      forEver,
    );
    expect(answer).toBe('answered on another connection');
    await new Promise((resolve) => server.close(resolve));
  });
});
