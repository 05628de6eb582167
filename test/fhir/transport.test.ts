// One request over real sockets: what is sent, what of the answer is read, and what each way of failing is called.

import { once } from 'node:events';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Credentials, fixedCredentials } from '../../src/fhir/authorization/credentials.ts';
import { type HttpRequest, Transport, type TransportConfig } from '../../src/fhir/client/transport.ts';
import { headerOf } from '../../src/fhir/http/dispatch.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { type Handler, reply, type ScriptedServer, serve } from '../support/scripted-server.ts';

function transportTo(baseUrl: string, config: Partial<TransportConfig> = {}): Transport {
  const transport = new Transport({
    baseUrl,
    connections: 1,
    timeoutMs: 10_000,
    userAgent: 'test',
    tls: () => ({}),
    credentials: fixedCredentials(null),
    ...config,
  });
  onTestFinished(() => transport.close());
  return transport;
}

const get: HttpRequest = { method: 'GET', path: 'Patient/7', maxBytes: 1000 };

async function withServer(
  handler: Handler,
  config: Partial<TransportConfig> = {},
): Promise<{ server: ScriptedServer; transport: Transport }> {
  const server = await serve(handler);
  return { server, transport: transportTo(`${server.origin}/fhir`, config) };
}

/** A server that does as `onRequest` says with the bare socket, each time data comes. */
async function serveRaw(onRequest: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('data', () => onRequest(socket)).on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe('a request', () => {
  it('has its method, body and headers, and those of each request', async () => {
    const { server, transport } = await withServer((_, response) => reply(response, 200), {
      credentials: fixedCredentials('token'),
    });
    await transport.send({ ...get, method: 'PUT', headers: { 'content-type': 'text/x', 'x-odd': '1' }, body: 'ä🏥' });
    const [request] = server.received;
    expect(request).toMatchObject({ method: 'PUT', url: '/fhir/Patient/7', body: 'ä🏥' });
    expect(request?.headers).toMatchObject({
      accept: 'application/fhir+json; fhirVersion=4.0, application/fhir+json;q=0.9',
      'user-agent': 'test',
      authorization: 'Bearer token',
      'content-type': 'text/x',
      'content-length': '6',
      'x-odd': '1',
    });
  });

  it.each([
    ['', '/Patient/7'],
    ['/', '/Patient/7'],
    ['/fhir', '/fhir/Patient/7'],
    ['/fhir///', '/fhir/Patient/7'],
    ['/a%20b/R4', '/a%20b/R4/Patient/7'],
  ])('goes below the base %j', async (base, url) => {
    const server = await serve((_, response) => reply(response, 200));
    await transportTo(server.origin + base).send(get);
    expect(server.received[0]?.url).toBe(url);
  });

  it('asks for its authorization each time, and may have none', async () => {
    const tokens = ['Bearer 1', 'Bearer 2', undefined];
    const { server, transport } = await withServer((_, response) => reply(response, 200), {
      credentials: { ...fixedCredentials(null), header: async () => ({ ok: true, header: tokens.shift() }) },
    });
    for (let turn = 1; turn <= 3; turn += 1) await transport.send(get);
    expect(server.received.map(({ headers }) => headers.authorization)).toEqual(['Bearer 1', 'Bearer 2', undefined]);
  });

  it('is not sent when no authorization can be had', async () => {
    const { server, transport } = await withServer((_, response) => reply(response, 200), {
      credentials: { ...fixedCredentials(null), header: async () => ({ ok: false, cause: 'token' }) },
    });
    await expect(transport.send(get)).resolves.toEqual({ ok: false, cause: 'token' });
    expect(server.received).toEqual([]);
  });

  it('that cannot be written is a fault of this program', async () => {
    const { transport } = await withServer((_, response) => reply(response, 200));
    await expect(transport.send({ ...get, headers: { 'x-odd': 'a\nb' } })).rejects.toThrow('x-odd');
  });
});

describe('an answer', () => {
  it('has status, headers in small letters, of a repeated one the last, and the body as UTF-8', async () => {
    const { transport } = await withServer((_, response) => {
      response.writeHead(
        201,
        [
          ['ETag', 'W/"3"'],
          ['X-Twice', 'a'],
          ['X-Twice', 'b'],
        ].flat(),
      );
      const body = Buffer.from('{"family":"Müller 🏥"}');
      // In the middle of a character.
      response.write(body.subarray(0, 12));
      response.end(body.subarray(12));
    });
    const exchange = await transport.send(get);
    if (!exchange.ok) throw new Error(exchange.cause);
    expect(exchange.answer).toMatchObject({ status: 201, body: { text: '{"family":"Müller 🏥"}' } });
    expect(headerOf(exchange.answer, 'etag')).toBe('W/"3"');
    expect(headerOf(exchange.answer, 'x-twice')).toBe('b');
  });

  it.each([301, 302, 303, 307, 308])('with status %i is not followed', async (status) => {
    const { server, transport } = await withServer((_, response) =>
      reply(response, status, '', { location: '/fhir/x' }),
    );
    await expect(transport.send({ ...get, method: 'PUT', body: '{}' })).resolves.toMatchObject({ answer: { status } });
    expect(server.received).toHaveLength(1);
  });

  it('may have as many bytes as are read, and not one more', async () => {
    let body = 'x'.repeat(1000);
    const { transport } = await withServer((_, response) => reply(response, 200, body));
    await expect(transport.send(get)).resolves.toMatchObject({ answer: { body: { text: body } } });
    const tooLarge = { answer: { status: 200, body: { missing: 'answer-too-large' } } };
    body = 'x'.repeat(1001);
    await expect(transport.send(get)).resolves.toMatchObject(tooLarge);
    body = 'ä'.repeat(501);
    await expect(transport.send(get)).resolves.toMatchObject(tooLarge);
  });

  it('that refuses may have a megabyte, whatever the one that was asked for may have', async () => {
    let body = 'x'.repeat(1024 * 1024);
    const { transport } = await withServer((_, response) => reply(response, 500, body));
    const large = { ...get, maxBytes: 16 * 1024 * 1024 };
    await expect(transport.send(large)).resolves.toMatchObject({ answer: { body: { text: body } } });
    body += 'x';
    await expect(transport.send(large)).resolves.toMatchObject({
      answer: { status: 500, body: { missing: 'answer-too-large' } },
    });
  });

  it('without an end is read no further, and its connection is given up', async () => {
    let closed: Promise<unknown> | undefined;
    const { transport } = await withServer((request, response) => {
      closed = new Promise((resolve) => request.socket.once('close', resolve));
      const more = () => void (response.destroyed || response.write('x'.repeat(1000), () => setImmediate(more)));
      more();
    });
    await expect(transport.send(get)).resolves.toMatchObject({ answer: { body: { missing: 'answer-too-large' } } });
    await closed;
  });

  it.each<[string, string]>([
    ['a length that it does not reach', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: W/"3"\r\n\r\n{"half'],
    [
      'chunks of which the last is missing',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: W/"3"\r\n\r\n5\r\n{"hal\r\n',
    ],
  ])('that breaks off, with %s, still says what its status and headers say', async (_, text) => {
    const transport = transportTo(await serveRaw((socket) => socket.end(text)));
    const exchange = await transport.send(get);
    expect(exchange).toMatchObject({ ok: true, answer: { status: 200, body: { missing: 'network' } } });
    if (exchange.ok) expect(headerOf(exchange.answer, 'etag')).toBe('W/"3"');
  });
});

describe('no answer', () => {
  it('in time is a timeout', async () => {
    const { transport } = await withServer(() => {}, { timeoutMs: 100 });
    await expect(transport.send(get)).resolves.toEqual({ ok: false, cause: 'timeout' });
  });

  it('in time behind another that hangs is a timeout too', async () => {
    const { transport } = await withServer(() => {}, { timeoutMs: 100 });
    await expect(Promise.all([transport.send(get), transport.send(get)])).resolves.toEqual([
      { ok: false, cause: 'timeout' },
      { ok: false, cause: 'timeout' },
    ]);
  });

  it('but half of one in time leaves the body out', async () => {
    const { transport } = await withServer((_, response) => void response.writeHead(200).write('{"half'), {
      timeoutMs: 1000,
    });
    await expect(transport.send(get)).resolves.toMatchObject({ answer: { status: 200, body: { missing: 'timeout' } } });
  });

  it('in time as a whole is a timeout, though the server never falls silent', async () => {
    const { transport } = await withServer(
      (request, response) => {
        response.writeHead(200);
        const drip = setInterval(() => response.write('x'), 20);
        request.socket.once('close', () => clearInterval(drip));
      },
      { timeoutMs: 1000 },
    );
    await expect(transport.send(get)).resolves.toMatchObject({ answer: { body: { missing: 'timeout' } } });
  });

  it('from where nobody listens means “unreachable”', async () => {
    // Port 1 is tcpmux, which no machine has had for decades.
    await expect(transportTo('http://127.0.0.1:1').send(get)).resolves.toEqual({ ok: false, cause: 'unreachable' });
  });

  it('in TLS from a server that speaks none means “tls”', async () => {
    const { origin } = await serve((_, response) => reply(response, 200));
    await expect(transportTo(origin.replace('http:', 'https:')).send(get)).resolves.toEqual({
      ok: false,
      cause: 'tls',
    });
  });

  // Such as the port of something else, or of TLS spoken to without it.
  it.each([
    '\u0015\u0003\u0003\u0000\u0002\u0002P',
    'SSH-2.0-OpenSSH_9.2\r\n',
    'HTTP/1.1 abc\r\n\r\n',
    'HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n',
    `HTTP/1.1 200 OK\r\n${'x: yyyyyyyy\r\n'.repeat(5000)}\r\n`,
    'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n',
  ])('in HTTP but %j means “network”', async (text) => {
    const origin = await serveRaw((socket) => socket.end(text));
    await expect(transportTo(origin).send(get)).resolves.toEqual({ ok: false, cause: 'network' });
  });

  it('before the transport is closed means “network” to whoever waits', async () => {
    const arrived = Promise.withResolvers<void>();
    const { transport } = await withServer(() => arrived.resolve());
    const sent = [transport.send(get), transport.send(get)];
    await arrived.promise;
    await transport.close();
    await expect(Promise.all(sent)).resolves.toEqual([
      { ok: false, cause: 'network' },
      { ok: false, cause: 'network' },
    ]);
    await expect(transport.send(get)).resolves.toEqual({ ok: false, cause: 'network' });
  });

  it('to the end before the transport is closed means “network” in its body', async () => {
    const started = Promise.withResolvers<void>();
    const { transport } = await withServer(
      (_, response) => void response.writeHead(200).write('{', () => started.resolve()),
    );
    const sent = transport.send(get);
    await started.promise;
    await transport.close();
    const exchange = await sent;
    // The headers may or may not have been read by then.
    if (exchange.ok) expect(exchange.answer.body).toEqual({ missing: 'network' });
    else expect(exchange.cause).toBe('network');
  });
});

describe('a request whose token is refused', () => {
  /** The server takes `good` alone; each renewal gives the next of `tokens`. */
  async function withTokens(good: string, ...tokens: string[]) {
    let renewals = 0;
    const credentials: Credentials = {
      ...fixedCredentials(null),
      header: async () => ({ ok: true, header: tokens[0] }),
      renewed: async (refused) => {
        expect(refused).toBe(tokens[0]);
        renewals += 1;
        return tokens[1] === undefined ? null : { ok: true, header: tokens[1] };
      },
    };
    const { server, transport } = await withServer(
      ({ headers }, response) => reply(response, headers.authorization === good ? 200 : 401),
      { credentials },
    );
    return { server, transport, renewals: () => renewals };
  }
  const put: HttpRequest = { ...get, method: 'PUT', body: '{"same":1}', headers: { 'x-request-id': 'a' } };

  it('goes once more with a renewed one, and is otherwise the same', async () => {
    const { server, transport } = await withTokens('new', 'old', 'new');
    await expect(transport.send(put)).resolves.toMatchObject({ answer: { status: 200 } });
    const [first, second, ...more] = server.received.map(({ headers: { authorization, ...headers }, ...rest }) => ({
      authorization,
      same: { ...rest, headers, socket: null, connection: null },
    }));
    expect([first?.authorization, second?.authorization, more]).toEqual(['old', 'new', []]);
    expect(second?.same).toEqual(first?.same);
  });

  it('is refused when that one is refused as well', async () => {
    const { server, transport, renewals } = await withTokens('another', 'old', 'new');
    await expect(transport.send(put)).resolves.toMatchObject({ answer: { status: 401 } });
    expect(server.received).toHaveLength(2);
    expect(renewals()).toBe(1);
  });

  it('fails as the renewal does', async () => {
    const { server, transport } = await withServer((_, response) => reply(response, 401), {
      credentials: {
        ...fixedCredentials('old'),
        renewed: async () => ({ ok: false, cause: 'token-refused', detail: 'invalid_client' }),
      },
    });
    const failed = { ok: false, cause: 'token-refused', detail: 'invalid_client' };
    await expect(transport.send(put)).resolves.toEqual(failed);
    expect(server.received).toHaveLength(1);
  });

  it('is refused when there is no other', async () => {
    const { server, transport } = await withTokens('another', 'old');
    await expect(transport.send(put)).resolves.toMatchObject({ answer: { status: 401 } });
    expect(server.received).toHaveLength(1);
  });
});

describe('whether a request may be sent', () => {
  const over = new Error('The slot is lost.');

  it('is asked when its token is there, however long that took', async () => {
    let mayBeSent = true;
    const { server, transport } = await withServer((_, response) => reply(response, 200), {
      credentials: {
        ...fixedCredentials(null),
        header: async () => {
          mayBeSent = false;
          return { ok: true, header: 'Bearer late' };
        },
      },
    });
    const ask = () => {
      if (!mayBeSent) throw over;
    };
    expect(await transport.send({ ...get, mayBeSent: ask }).catch((error) => error)).toBe(over);
    expect(server.received).toEqual([]);
  });

  it('is asked again when its token was renewed: what was refused was not carried out', async () => {
    let mayBeSent = true;
    const { server, transport } = await withServer((_, response) => reply(response, 401), {
      credentials: {
        ...fixedCredentials('old'),
        renewed: async () => {
          mayBeSent = false;
          return { ok: true, header: 'new' } as const;
        },
      },
    });
    const ask = () => {
      if (!mayBeSent) throw over;
    };
    expect(await transport.send({ ...get, mayBeSent: ask }).catch((error) => error)).toBe(over);
    expect(server.received).toHaveLength(1);
  });

  it('is asked before a repeat on another connection, which otherwise is a broken one: it may have been carried out', async () => {
    let mayBeSent = true;
    let served = 0;
    const { server, transport } = await withServer(({ socket }, response) => {
      served += 1;
      if (served === 1) return reply(response, 200);
      mayBeSent = false;
      socket.resetAndDestroy();
    });
    const ask = () => {
      if (!mayBeSent) throw over;
    };
    await transport.send({ ...get, mayBeSent: ask });
    const second = transport.send({ ...get, mayBeSent: ask }).catch((error) => error);
    expect(await second).toEqual({ ok: false, cause: 'network' });
    expect(server.received).toHaveLength(2);
  });

  it('is asked when its connection is there, however long that took', async () => {
    const authority = await CertificateAuthority.make();
    const { certificate: cert, key } = await authority.server({ ip: ['127.0.0.1'] });
    let requests = 0;
    const tls = createHttpsServer({ cert, key }, (_, response) => {
      requests += 1;
      response.end();
    });
    await once(tls.listen(0, '127.0.0.1'), 'listening');
    // Before it something that lets nothing through until it is told to.
    const open = Promise.withResolvers<void>();
    const connected = Promise.withResolvers<void>();
    const slow = createServer((socket) => {
      connected.resolve();
      const inner = connect((tls.address() as AddressInfo).port, '127.0.0.1');
      inner.on('error', () => {});
      socket.on('error', () => {}).once('close', () => inner.destroy());
      void open.promise.then(() => socket.pipe(inner).pipe(socket));
    });
    await once(slow.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(async () => {
      tls.closeAllConnections();
      await Promise.all([new Promise((resolve) => tls.close(resolve)), new Promise((resolve) => slow.close(resolve))]);
      await authority.remove();
    });
    const transport = transportTo(`https://127.0.0.1:${(slow.address() as AddressInfo).port}/fhir`, {
      tls: () => ({ ca: authority.certificate }),
    });
    let mayBeSent = true;
    const ask = () => {
      if (!mayBeSent) throw over;
    };
    const sent = transport.send({ ...get, mayBeSent: ask }).catch((error) => error);
    await connected.promise;
    mayBeSent = false;
    open.resolve();
    expect(await sent).toBe(over);
    expect(requests).toBe(0);
    // The connection serves the next one.
    mayBeSent = true;
    await expect(transport.send({ ...get, mayBeSent: ask })).resolves.toMatchObject({ answer: { status: 200 } });
  });
});
