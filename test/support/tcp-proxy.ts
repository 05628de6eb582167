// A TCP proxy that can fall silent: what went through it stays open and nothing is ever said again, as when a network
// path dies without a word. Or that leads to another server all of a sudden, as a name or an address that was switched.
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export class TcpProxy {
  readonly #server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #target: readonly [port: number, host: string];
  #silent = false;

  private constructor(host: string, port: number) {
    this.#target = [port, host];
    this.#server = createServer((client) => this.#join(client, connect(...this.#target)));
  }

  static async start(host: string, port: number, address = '127.0.0.1'): Promise<TcpProxy> {
    const proxy = new TcpProxy(host, port);
    await new Promise<void>((resolve) => proxy.#server.listen(0, address, resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** How many clients are connected. */
  get clients(): number {
    return this.#pairs.size;
  }

  /** From now on not a byte passes, on open connections and on new ones. Nobody is told. */
  fallSilent(): void {
    this.#silent = true;
    for (const [client, server] of this.#pairs) {
      client.unpipe().pause();
      server.unpipe().pause();
    }
  }

  /** New connections work again; those that fell silent stay so for the client. The server sees them close. */
  recover(): void {
    this.#silent = false;
    for (const [, server] of this.#pairs) server.destroy();
    this.#pairs.clear();
  }

  /** New connections lead there. Those that are open stay where they are, as they do when only a name was switched. */
  retarget(host: string, port: number): void {
    this.#target = [port, host];
  }

  /** Ends all connections that are open. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  async stop(): Promise<void> {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    this.#server.close();
  }

  #join(client: Socket, server: Socket): void {
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    client.on('error', () => server.destroy());
    server.on('error', () => this.#silent || client.destroy());
    client.on('close', () => {
      server.destroy();
      this.#pairs.delete(pair);
    });
    server.on('close', () => {
      if (this.#pairs.delete(pair)) client.destroy();
    });
    if (this.#silent) return;
    client.pipe(server);
    server.pipe(client);
  }
}
