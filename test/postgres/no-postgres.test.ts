// What listens where PostgreSQL should, and is none: it is told from a server that is away.
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { PostgresClient } from '../../src/postgres/client.ts';

async function portOf(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

function onEach(meet: (socket: Socket) => unknown): Server {
  return createServer((socket) => {
    socket.on('error', () => undefined);
    meet(socket);
  });
}

const OTHERS: Readonly<Record<string, () => Server>> = {
  'an HTTP server': () => createHttpServer(),
  'a port that closes at once': () => onEach((socket) => socket.end()),
  'a port that breaks each connection off': () =>
    onEach((socket) => socket.once('data', () => socket.resetAndDestroy())),
  'a mail server': () => onEach((socket) => socket.end('220 mail.example.com ESMTP\r\n')),
};

describe.each([
  { how: 'without TLS', ssl: false },
  { how: 'with TLS', ssl: true },
])('$how', ({ ssl }) => {
  it.each(Object.entries(OTHERS))('%s is no PostgreSQL', async (_, made) => {
    const client = new PostgresClient({ host: '127.0.0.1', port: await portOf(made()), user: 'nobody', ssl });
    await expect(client.connect()).rejects.toMatchObject({ code: 'CLOSED_BEFORE_LOGIN' });
  });
});

it('a server that never says a word is none of them: it may be PostgreSQL under load', async () => {
  const port = await portOf(onEach(() => undefined));
  const client = new PostgresClient({ host: '127.0.0.1', port, user: 'nobody', connectionTimeoutMillis: 100 });
  await expect(client.connect()).rejects.not.toHaveProperty('code');
});
