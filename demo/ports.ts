// Ports on 127.0.0.1: the one that people expect where it is free, otherwise any.

import { type AddressInfo, createServer } from 'node:net';

/** `preferred` if nothing listens there, otherwise a free one. Another process may take it before it is used. */
export async function freePort(preferred = 0): Promise<number> {
  return (await listens(preferred)) ?? (await listens(0)) ?? 0;
}

/** The port that was opened for a moment; null when it is taken, or not for this user. */
function listens(port: number): Promise<number | null> {
  const { promise, resolve } = Promise.withResolvers<number | null>();
  const server = createServer().once('error', () => resolve(null));
  server.listen(port, '127.0.0.1', () => {
    const address = server.address() as AddressInfo;
    server.close(() => resolve(address.port));
  });
  return promise;
}
