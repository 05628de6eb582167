// What hostile and broken clients do to the HTTP server, by raw sockets: nobody holds anything of it for long, or keeps others out.
import { subscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createHttpServer, type HttpServer } from '../../src/metrics/http-server.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { page } from '../../src/metrics/status-page/page.ts';

const host = '127.0.0.1';
/** More than any buffer between the two holds. */
const HUGE = 'x'.repeat(32 * 1024 * 1024);
let server: HttpServer;
let read = 0;

beforeAll(async () => {
  server = await createHttpServer({
    host,
    port: 0,
    metrics: createMetrics(),
    health: () => {
      read += 1;
      return { ready: true, state: 'streaming' };
    },
    statusPage: { ...page, live: async () => ({ HUGE }) },
  });
});
afterAll(() => server.close());

async function open(): Promise<Socket> {
  const socket = connect(server.port, host);
  await once(socket, 'connect');
  return socket;
}

/** What comes back for bytes that no HTTP client would send, until the server ends the connection; and after how long it did. */
async function raw(text: string): Promise<{ answer: string; seconds: number }> {
  const socket = await open();
  const started = performance.now();
  let answer = '';
  socket.setEncoding('latin1').on('data', (chunk) => {
    answer += chunk;
  });
  // Bytes that nobody read any more make the end a reset; what came before counts.
  socket.on('error', () => undefined);
  socket.write(text, 'latin1');
  await once(socket, 'close');
  return { answer, seconds: (performance.now() - started) / 1000 };
}

const statusesOf = (answer: string) => [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status));

describe.concurrent('a client that takes its time', () => {
  test.each([
    ['says nothing', ''],
    ['stops in the first line', 'GET /hea'],
    ['stops among the headers', 'GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: b\r\n'],
  ])('and %s is told so and let go after some seconds', async (_, text) => {
    const { answer, seconds } = await raw(text);
    expect(statusesOf(answer)).toEqual([408]);
    expect(seconds).toBeGreaterThan(4);
    expect(seconds).toBeLessThan(20);
  });

  test('and sends a header a second is let go all the same', async () => {
    const socket = await open();
    socket.on('error', () => undefined);
    const started = performance.now();
    socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n');
    const drip = setInterval(() => socket.write('x-a: b\r\n'), 1000);
    const [answer] = await once(socket, 'data');
    await once(socket, 'close');
    clearInterval(drip);
    expect(statusesOf(String(answer))).toEqual([408]);
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  test('to read the answer does not get the rest of it', async () => {
    const served = new Promise<ServerResponse>((resolve) => {
      subscribe('http.server.request.start', (message) => {
        const { request, response } = message as { request: IncomingMessage; response: ServerResponse };
        if (request.url === '/status.json?slowly') resolve(response);
      });
    });
    const socket = await open();
    socket.on('error', () => undefined).pause();
    socket.write('GET /status.json?slowly HTTP/1.1\r\nhost: x\r\n\r\n');
    const response = await served;
    const started = performance.now();
    await once(response, 'close');
    expect(response.writableFinished).toBe(false);
    expect(performance.now() - started).toBeGreaterThan(9000);
    expect(performance.now() - started).toBeLessThan(30_000);
    socket.destroy();
  });
});

describe('a body', () => {
  const headers = 'HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n';
  test.each([
    ['with GET', `GET /healthz ${headers}\r\nabc`, 200],
    ['in chunks', 'GET /healthz HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n', 200],
    ['with POST', `POST /metrics ${headers}\r\nabc`, 405],
    ['for no page', `POST /other ${headers}\r\nabc`, 404],
    ['that waits to be asked for', `POST /metrics ${headers}expect: 100-continue\r\n\r\n`, 405],
    ['with an expectation that nobody knows', `GET /healthz ${headers}expect: tea\r\n\r\n`, 200],
  ])('%s is not waited for: there is one answer, and the connection ends', async (_, text, status) => {
    const { answer, seconds } = await raw(text);
    expect(statusesOf(answer)).toEqual([status]);
    expect(seconds).toBeLessThan(4);
  });

  test('whose length is told in two ways is refused, as it may hide a second request', async () => {
    for (const lengths of [
      'content-length: 5\r\ntransfer-encoding: chunked',
      'content-length: 5\r\ncontent-length: 6',
    ]) {
      const { answer } = await raw(`GET /healthz HTTP/1.1\r\nhost: x\r\n${lengths}\r\n\r\n0\r\n\r\n`);
      expect(statusesOf(answer)).toEqual([400]);
    }
  });
});

describe('many', () => {
  test('requests on one connection, sent without waiting, are answered once and make no work', async () => {
    const request = 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n';
    const made: number[] = [];
    for (const text of [request, request.repeat(1500)]) {
      read = 0;
      expect(statusesOf((await raw(text)).answer)).toEqual([200]);
      made.push(read);
    }
    expect(made[1]).toBe(made[0]);
  });

  test('connections keep no probe out: the oldest gives way', async () => {
    const held = await Promise.all(Array.from({ length: 150 }, () => open()));
    const ended = new Set<Socket>();
    for (const socket of held) socket.on('error', () => undefined).on('close', () => ended.add(socket));
    for (const socket of held) socket.write('GET /hea');
    expect(statusesOf((await raw('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')).answer)).toEqual([200]);
    await expect.poll(() => held.slice(0, 50).filter((socket) => !ended.has(socket)), { timeout: 10_000 }).toEqual([]);
    for (const socket of held) socket.destroy();
  });

  test.each([
    ['characters in the address', `GET /${'x'.repeat(10_000)} HTTP/1.1\r\nhost: x\r\n\r\n`],
    ['headers', `GET /healthz HTTP/1.1\r\nhost: x\r\n${'a: b\r\n'.repeat(1500)}\r\n`],
    ['characters in one header', `GET /healthz HTTP/1.1\r\nhost: x\r\nx-large: ${'x'.repeat(10_000)}\r\n\r\n`],
  ])('%s are refused', async (_, text) => {
    expect(statusesOf((await raw(text)).answer)).toEqual([431]);
  });
});

describe('a request in an odd form', () => {
  const [get, end] = ['GET /healthz HTTP/1.1\r\nhost: x\r\n', '\r\n'];
  test.each([
    ['another server, as of a proxy', `GET http://example.com/healthz HTTP/1.1\r\nhost: x\r\n${end}`, [404]],
    ['the server as a whole', `OPTIONS * HTTP/1.1\r\nhost: x\r\n${end}`, [404]],
    ['no path', `GET healthz HTTP/1.1\r\nhost: x\r\n${end}`, [400]],
    ['a path with dots', `GET /x/../healthz HTTP/1.1\r\nhost: x\r\n${end}`, [404]],
    ['a path with an escape', `GET /%68ealthz HTTP/1.1\r\nhost: x\r\n${end}`, [404]],
    ['a path with NUL', `GET /healthz\0 HTTP/1.1\r\nhost: x\r\n${end}`, [400]],
    ['a path with bytes that are no ASCII', `GET /healthz\xff HTTP/1.1\r\nhost: x\r\n${end}`, [400]],
    ['a tunnel', `CONNECT example.com:443 HTTP/1.1\r\nhost: x\r\n${end}`, []],
    ['an echo', `TRACE /metrics HTTP/1.1\r\nhost: x\r\ncookie: hush\r\n${end}`, [405]],
    ['a method that there is not', `HUSH /healthz HTTP/1.1\r\nhost: x\r\n${end}`, [400]],
    ['a WebSocket', `${get}connection: upgrade\r\nupgrade: websocket\r\n${end}`, [200]],
    [
      'HTTP/2 on the way',
      `${get}connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAA\r\n${end}`,
      [200],
    ],
    ['HTTP/2 at once', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400]],
    ['HTTP/1.0', `GET /healthz HTTP/1.0\r\n${end}`, [200]],
    ['TLS', '\x16\x03\x01\x02\x00\x01', [400]],
    ['no host', `GET /healthz HTTP/1.1\r\n${end}`, [400]],
    ['a header that is folded', `${get}x-a: b\r\n c\r\n${end}`, [400]],
    ['a header without a carriage return', `${get}x-a: b\n${end}`, [400]],
  ])('that asks for %s is answered as it should be', async (_, text, statuses) => {
    const { answer } = await raw(text);
    expect(statusesOf(answer)).toEqual(statuses);
    expect(answer).not.toContain('hush');
  });

  test('leaves the server well', async () => {
    expect((await fetch(`http://${host}:${server.port}/healthz`)).status).toBe(200);
  });
});
