// Somebody in between: speaks TLS with a client by a certificate of its own and with PostgreSQL as a client, and passes on all that is said.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { connect as connectTls, TLSSocket } from 'node:tls';
import type { SignedCertificate } from './certificates.ts';

/** What a client sends to begin TLS: https://www.postgresql.org/docs/current/protocol-message-formats.html (SSLRequest) */
const SSL_REQUEST = Buffer.of(0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f);

export class TlsInterceptor {
  /** Clients whose TLS it ended. */
  intercepted = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: { readonly host: string; readonly port: number }, own: SignedCertificate) {
    this.#server = createServer((client) => {
      // Whoever is let down by the other side says no more.
      this.#join(client, target, own).catch(() => client.destroy());
    });
  }

  static async start(
    target: { readonly host: string; readonly port: number },
    own: SignedCertificate,
  ): Promise<TlsInterceptor> {
    const interceptor = new TlsInterceptor(target, own);
    await once(interceptor.#server.listen(0, '127.0.0.1'), 'listening');
    return interceptor;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #join(client: Socket, { host, port }: { host: string; port: number }, own: SignedCertificate): Promise<void> {
    const server = connect(port, host);
    for (const socket of [client, server]) this.#kept(socket);
    await Promise.all([once(server, 'connect'), once(client, 'data')]);
    server.write(SSL_REQUEST);
    await once(server, 'data');
    const toServer = connectTls({ socket: server, rejectUnauthorized: false });
    this.#kept(toServer);
    await once(toServer, 'secureConnect');
    client.write('S');
    const toClient = new TLSSocket(client, { isServer: true, cert: own.certificate, key: own.key });
    this.#kept(toClient);
    await once(toClient, 'secure');
    this.intercepted += 1;
    toClient.pipe(toServer).pipe(toClient);
  }

  #kept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
  }
}
