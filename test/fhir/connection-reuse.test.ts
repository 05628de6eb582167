// A connection that the server closes just as the next request is written to it: that request goes once more, and only then.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { clientFor, reply, type ScriptedServer, serve } from '../support/scripted-server.ts';

const TYPE = 'Patient';

/** What the server does to the connection of a request instead of answering. */
const BREAKS: [string, (socket: Socket) => void][] = [
  ['with a reset', (socket) => socket.resetAndDestroy()],
  ['in the ordinary way', (socket) => socket.end()],
];

/** A server that breaks the connection of the requests with these numbers, from 1, and answers the others. */
async function breakingAt(numbers: readonly number[], breakOff: (socket: Socket) => void): Promise<ScriptedServer> {
  const server = await serve(({ socket }, response) => {
    if (numbers.includes(server.received.length)) breakOff(socket);
    else reply(response, 204);
  });
  return server;
}

const connectionsOf = ({ received }: ScriptedServer) => received.map(({ connection }) => connection);

describe.each(BREAKS)('a connection that is closed %s', (_, breakOff) => {
  it('after it has served: the request is sent again at once, on another', async () => {
    const server = await breakingAt([2], breakOff);
    const { fhir, calls } = clientFor(server.origin);
    await fhir.deleteById(TYPE, '1', 'a');
    await expect(fhir.deleteById(TYPE, '2', 'b')).resolves.toMatchObject({ ok: true });
    expect(connectionsOf(server)).toEqual([1, 1, 2]);
    expect(server.received.map(({ url }) => url)).toEqual(['/Patient/1', '/Patient/2', '/Patient/2']);
    expect(server.received[2]?.headers).toEqual(server.received[1]?.headers);
    // To whoever watches it is one call.
    expect(calls).toEqual(['DELETE ok', 'DELETE ok']);
  });

  it('on its first request: that is a failure to be told', async () => {
    const server = await breakingAt([1], breakOff);
    const { fhir } = clientFor(server.origin);
    await expect(fhir.deleteById(TYPE, '1', 'a')).resolves.toMatchObject({ ok: false, fault: { code: 'network' } });
    expect(server.received).toHaveLength(1);
  });

  it('and the next one too: the request is not sent a third time', async () => {
    const server = await breakingAt([2, 3], breakOff);
    const { fhir } = clientFor(server.origin);
    await fhir.deleteById(TYPE, '1', 'a');
    await expect(fhir.deleteById(TYPE, '2', 'b')).resolves.toMatchObject({ ok: false, fault: { code: 'network' } });
    expect(connectionsOf(server)).toEqual([1, 1, 2]);
    await expect(fhir.deleteById(TYPE, '3', 'c')).resolves.toMatchObject({ ok: true });
  });

  it('and another that has served too: the request is not sent a third time either', async () => {
    const held: (() => void)[] = [];
    const server = await serve(({ socket }, response) => {
      if (server.received.length > 2) return breakOff(socket);
      held.push(() => reply(response, 204));
      if (held.length === 2) for (const answer of held) answer();
    });
    const { fhir } = clientFor(server.origin, { concurrency: 2 });
    await Promise.all([fhir.deleteById(TYPE, '1', 'a'), fhir.deleteById(TYPE, '2', 'b')]);
    expect(connectionsOf(server)).toEqual([1, 2]);
    await expect(fhir.deleteById(TYPE, '3', 'c')).resolves.toMatchObject({ ok: false, fault: { code: 'network' } });
    expect(server.received).toHaveLength(4);
  });

  it('while nobody uses it is no failure at all', async () => {
    const server = await breakingAt([], breakOff);
    const { fhir } = clientFor(server.origin);
    await fhir.deleteById(TYPE, '1', 'a');
    const [first] = server.received;
    const closed = new Promise((resolve) => first?.socket.once('close', resolve));
    if (first) breakOff(first.socket);
    await closed;
    await expect(fhir.deleteById(TYPE, '2', 'b')).resolves.toMatchObject({ ok: true });
  });
});

describe('a connection that serves', () => {
  it('is kept for the next request', async () => {
    const server = await breakingAt([], () => {});
    const { fhir } = clientFor(server.origin);
    for (let turn = 1; turn <= 5; turn += 1) await fhir.deleteById(TYPE, `${turn}`, 'a');
    expect(connectionsOf(server)).toEqual([1, 1, 1, 1, 1]);
  });

  it('has one request at a time, and there are no more of them than asked for', async () => {
    const arrived = Promise.withResolvers<void>();
    const held: (() => void)[] = [];
    const server = await serve((_, response) => {
      held.push(() => reply(response, 204));
      if (held.length === 3) arrived.resolve();
    });
    const { fhir } = clientFor(server.origin, { concurrency: 3 });
    const sent = ['1', '2', '3', '4', '5'].map((id) => fhir.deleteById(TYPE, id, 'a'));
    await arrived.promise;
    // The control read has a connection of its own; once it arrives, a fourth write would have, too.
    const probed = fhir.probe();
    await expect.poll(() => held.length).toBe(4);
    expect(connectionsOf(server).toSorted()).toEqual([1, 2, 3, 4]);
    expect(server.received.map(({ method }) => method)).toEqual(['DELETE', 'DELETE', 'DELETE', 'GET']);
    for (const answer of held) answer();
    await expect.poll(() => held.length).toBe(6);
    for (const answer of held.slice(4)) answer();
    expect((await Promise.all(sent)).every(({ ok }) => ok)).toBe(true);
    expect((await probed)?.code).toBe('not-fhir');
  });
});
