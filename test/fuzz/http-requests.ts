// The connector's own HTTP server: whatever is asked, in whatever manner, it answers the next one.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import fc from 'fast-check';
import { createHttpServer } from '../../src/metrics/http-server.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { page } from '../../src/metrics/status-page/page.ts';
import { CANARY, oddText } from './hostile-json.ts';
import { opened, type Surface } from './surface.ts';

const HOST = '127.0.0.1';
const LONGEST_MS = 30_000;

const METHOD = fc.oneof(
  fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'TRACE', 'CONNECT', 'OPTIONS', 'get', ''),
  oddText,
);
const PATH = fc.oneof(
  fc.constantFrom(
    '/',
    '/metrics',
    '/healthz',
    '/readyz',
    '/status.json',
    '/../etc/passwd',
    '//evil.example.com/',
    '*',
    'http://x/',
    '/%00',
    '/__proto__',
    '/constructor',
  ),
  oddText.map((text) => `/${text}`),
);
const HEADER = fc.oneof(
  fc.constantFrom(
    'Host: x',
    'Content-Length: 99999999999',
    'Content-Length: -1',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: chunked\r\nContent-Length: 3',
    'Connection: upgrade\r\nUpgrade: websocket',
    'Expect: 100-continue',
    'Expect: x',
    `x: ${'y'.repeat(20_000)}`,
    'x: y\r\n'.repeat(5000),
  ),
  oddText.map((text) => `x: ${text}`),
);

const REQUEST = fc
  .record({
    method: METHOD,
    path: PATH,
    version: fc.constantFrom('1.1', '1.0', '2.0', '9'),
    headers: fc.array(HEADER, { maxLength: 3 }),
    body: oddText,
  })
  .map(
    ({ method, path, version, headers, body }) =>
      `${method} ${path} HTTP/${version}\r\n${headers.map((header) => `${header}\r\n`).join('')}\r\n${body}`,
  );

/** All that comes back until the connection ends, or until nothing more comes for a moment. */
function ask(port: number, request: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let answer = '';
  const socket = connect(port, HOST, () => socket.write(request));
  socket.setTimeout(150, () => socket.destroy());
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    answer += chunk;
  });
  socket.on('error', () => undefined).on('close', () => resolve(answer));
  return promise;
}

async function holds(port: number, requests: readonly string[]): Promise<void> {
  const started = performance.now();
  const answers = await Promise.all(requests.map((request) => ask(port, request)));
  for (const answer of answers) {
    assert.match(answer, /^(HTTP\/1\.1 [1-5]\d\d |$)/);
    assert.ok(!Buffer.from(answer, 'latin1').toString().includes(CANARY), 'The request is repeated.');
  }
  const response = await fetch(`http://${HOST}:${port}/healthz`);
  assert.deepEqual(await response.json(), { state: 'streaming' });
  assert.ok(performance.now() - started < LONGEST_MS, 'It took long.');
}

export const httpRequests: Surface = {
  name: 'http-requests',
  async open() {
    const server = await createHttpServer({
      host: HOST,
      port: 0,
      metrics: createMetrics(),
      health: () => ({ ready: true, state: 'streaming' }),
      statusPage: { ...page, live: async () => ({ state: 'streaming' }) },
    });
    const requests = fc.array(REQUEST, { minLength: 1, maxLength: 8 });
    return opened(
      requests,
      (each) => holds(server.port, each),
      () => server.close(),
    );
  },
};
