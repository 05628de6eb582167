// Between the connector and PostgreSQL: lets all pass but the frames of the replication stream, of which some are changed on their way.
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type Lsn, parseLsn } from '../../src/postgres/lsn.ts';

/** What is sent instead of a frame of the stream. `frame` is whole: its type, its length, its content. */
export type Mutate = (frame: Buffer) => Buffer;

const [COPY_DATA, COPY_BOTH] = [0x64, 0x57];
const STATUS = 0x72;

export class MutatingProxy {
  readonly #server;
  readonly #sockets = new Set<Socket>();
  readonly #target: readonly [port: number, host: string];
  /** Asked for each frame of a stream; null lets all pass. */
  mutate: Mutate | null = null;
  /** The highest position that the connector has acknowledged. */
  acknowledged: Lsn = parseLsn('0/0');
  /** Told of each position as it is acknowledged, before PostgreSQL hears of it. */
  onStatus: (flushed: Lsn) => void = () => undefined;

  private constructor(host: string, port: number) {
    this.#target = [port, host];
    this.#server = createServer((client) => this.#join(client));
  }

  static async start(host: string, port: number): Promise<MutatingProxy> {
    const proxy = new MutatingProxy(host, port);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(client: Socket): void {
    const server = connect(...this.#target);
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(one);
      one
        .on('error', () => other.destroy())
        .on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
    }
    let streams = false;
    frames(server, (frame) => {
      streams ||= frame[0] === COPY_BOTH;
      client.write(streams && frame[0] === COPY_DATA && this.mutate ? this.mutate(frame) : frame);
    });
    let first = true;
    let held = Buffer.alloc(0);
    client.on('data', (chunk) => {
      server.write(chunk);
      if (!streams) {
        first = true;
        return;
      }
      if (first) held = Buffer.alloc(0);
      first = false;
      held = Buffer.concat([held, chunk]);
      for (let length = lengthOf(held); length !== null && length <= held.length; length = lengthOf(held)) {
        if (held[0] === COPY_DATA && held[5] === STATUS) this.#note(held.readBigUInt64BE(14) as Lsn);
        held = held.subarray(length);
      }
    });
  }

  #note(flushed: Lsn): void {
    if (flushed > this.acknowledged) this.acknowledged = flushed;
    this.onStatus(flushed);
  }
}

function lengthOf(bytes: Buffer): number | null {
  return bytes.length < 5 ? null : 1 + bytes.readUInt32BE(1);
}

/** Calls for each whole frame. */
function frames(socket: Socket, onFrame: (frame: Buffer) => void): void {
  let held = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    for (let length = lengthOf(held); length !== null && length <= held.length; length = lengthOf(held)) {
      onFrame(held.subarray(0, length));
      held = held.subarray(length);
    }
  });
}
