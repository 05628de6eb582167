// The HTTP server over a real socket: what it answers, what it refuses, and what it says when it cannot start.

import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createHttpServer, type HttpServer } from '../../src/metrics/http-server.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { basicAuth } from '../../src/metrics/status-page/basic-auth.ts';
import { page } from '../../src/metrics/status-page/page.ts';
import { parseExposition } from './exposition.ts';

const host = '127.0.0.1';
const metrics = createMetrics();
let health = { ready: true, state: 'streaming' };
let server: HttpServer;
const statusPage = { ...page, live: async () => ({ state: 'streaming' }) };

beforeEach(async () => {
  health = { ready: true, state: 'streaming' };
  server = await createHttpServer({ host, port: 0, metrics, health: () => health, statusPage });
});
afterEach(() => server.close());

const request = (path: string, method = 'GET') => fetch(`http://${host}:${server.port}${path}`, { method });

describe('the HTTP server', () => {
  test('shows the metrics in a form that Prometheus reads', async () => {
    metrics.processed.inc();
    const response = await request('/metrics');
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const { samples } = parseExposition(await response.text());
    expect(samples).toContainEqual({ name: 'fhir_connector_processed_total', labels: {}, value: 1 });
  });

  test('is ready while it streams', async () => {
    const response = await request('/readyz');
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ state: 'streaming' });
  });

  test('is alive but not ready while it reconnects', async () => {
    health = { ready: false, state: 'reconnecting' };
    const [live, ready] = await Promise.all([request('/healthz'), request('/readyz')]);
    expect([live.status, ready.status]).toEqual([200, 503]);
    expect(await live.json()).toEqual({ state: 'reconnecting' });
    expect(await ready.json()).toEqual({ state: 'reconnecting' });
  });

  test('answers HEAD like GET, without the body', async () => {
    const [head, get] = await Promise.all([request('/healthz', 'HEAD'), request('/healthz')]);
    expect(head.status).toBe(200);
    expect(head.headers.get('content-length')).toBe(get.headers.get('content-length'));
    expect(await head.text()).toBe('');
  });

  test('shows at / a page that needs nothing from elsewhere, and by its headers may not have it', async () => {
    const response = await request('/?from=a-browser');
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    const policy = response.headers.get('content-security-policy') ?? '';
    expect(policy).toMatch(
      /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; connect-src 'self';/,
    );
    const html = await response.text();
    expect(html).toMatch(/^<!doctype html>/);
    expect(html).not.toMatch(/\b(?:src|href)=|url\(|@import/);
    expect(await (await request('/status.json')).json()).toEqual({ state: 'streaming' });
  });

  test.each(['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])('refuses %s', async (method) => {
    const response = await request('/metrics', method);
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('GET, HEAD');
  });

  test('knows no other path, not even one that only looks like one of its own', async () => {
    for (const path of ['/metrics/', '/metrics/../etc/passwd', '/favicon.ico', '//', '/__proto__'])
      expect((await request(path)).status).toBe(404);
  });

  test('tells browsers with every answer that it is for no frame, no other site and no cache', async () => {
    const answers = await Promise.all([
      ...['/', '/status.json', '/metrics', '/healthz', '/readyz', '/other'].map((path) => request(path)),
      request('/', 'POST'),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 404, 405]);
    for (const { headers } of answers) {
      expect(Object.fromEntries(headers)).toMatchObject({
        'cache-control': 'no-store',
        'content-security-policy': expect.stringMatching(/^default-src 'none';.* frame-ancestors 'none'$/),
        'cross-origin-resource-policy': 'same-origin',
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
      });
      expect(headers.has('access-control-allow-origin')).toBe(false);
      expect(headers.has('server')).toBe(false);
      expect(headers.has('x-powered-by')).toBe(false);
    }
  });

  test('shows the status page to its reader alone, and the rest to everybody', async () => {
    const warnings: unknown[] = [];
    const mayRead = basicAuth(
      { user: 'zoe', password: 'secret' },
      { warn: (line: unknown) => void warnings.push(line) },
    );
    const other = await createHttpServer({ host, port: 0, metrics, health: () => health, statusPage, mayRead });
    const ask = (path: string, password?: string, method = 'GET') =>
      fetch(`http://${host}:${other.port}${path}`, {
        method,
        headers: password === undefined ? {} : { authorization: `Basic ${btoa(`zoe:${password}`)}` },
      });
    try {
      for (const path of ['/', '/?x', '/status.json', '/status.json?x']) {
        for (const answer of [await ask(path), await ask(path, 'wrong'), await ask(path, undefined, 'HEAD')]) {
          expect(answer.status).toBe(401);
          expect(answer.headers.get('www-authenticate')).toBe('Basic realm="FHIR connector", charset="UTF-8"');
          expect(await answer.text()).not.toMatch(/streaming|html/);
        }
        expect((await ask(path, 'secret')).status).toBe(200);
      }
      for (const path of ['/metrics', '/healthz', '/readyz']) expect((await ask(path)).status).toBe(200);
      expect(warnings).toEqual([{ remoteAddress: host, tries: 1 }]);
    } finally {
      await other.close();
    }
  });

  test('names METRICS_PORT when its port is taken', async () => {
    const second = createHttpServer({ host, port: server.port, metrics, health: () => health, statusPage });
    await expect(second).rejects.toThrow(
      `Port ${server.port} on ${host} is taken: end what listens there, or set METRICS_PORT to a free port.`,
    );
  });

  test('names METRICS_HOST when the address is not of this machine', async () => {
    // TEST-NET-1, which no machine has: https://www.rfc-editor.org/rfc/rfc5737
    const elsewhere = createHttpServer({ host: '192.0.2.1', port: 0, metrics, health: () => health, statusPage });
    await expect(elsewhere).rejects.toThrow('set METRICS_HOST');
  });

  test('closes although a client keeps its connection open', async () => {
    const other = await createHttpServer({ host, port: 0, metrics, health: () => health, statusPage });
    const socket = connect(other.port, host);
    await new Promise((resolve) => socket.once('connect', resolve));
    const ended = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined);
    await other.close();
    await ended;
    await expect(fetch(`http://${host}:${other.port}/healthz`)).rejects.toThrow();
  });
});
