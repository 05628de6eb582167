// One replication connection: START_REPLICATION in, decoded messages out, exact positions back. Alone imports pg-logical-replication.
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import pg from 'pg';
import { type Pgoutput, PgoutputPlugin } from 'pg-logical-replication';
import { PostgresClient } from '../../postgres/client.ts';
import { formatLsn, LSN_ZERO, type Lsn, parseLsn } from '../../postgres/lsn.ts';
import { onlyRow } from '../../postgres/only-row.ts';
import { KnownServer } from '../server/known-server.ts';
import { guardFrames } from './frame-guard.ts';
import { MessageCheck } from './message-check.ts';
import { MessageQueue } from './message-queue.ts';
import { HEARTBEAT_PREFIX, type ReplicationMessage } from './messages.ts';
import { UnreadableStream } from './unreadable-stream.ts';

/** The server ends a connection whose client was silent for this long; set per connection, whatever the server's default is. */
export const WAL_SENDER_TIMEOUT_MS = 10_000;
/** How often each of our connections shows that somebody is there. */
export const SIGN_OF_LIFE_MS = WAL_SENDER_TIMEOUT_MS / 4;

const XLOG_DATA = 0x77; // 'w'
const KEEPALIVE = 0x6b; // 'k'
const KEEPALIVE_BYTES = 18;
/** Of XLogData, before the message: where it starts in the WAL, the end of the WAL, and the time. */
const XLOG_HEADER_BYTES = 24;
/** Milliseconds from 1970-01-01 to 2000-01-01, where the protocol's clock starts. */
const POSTGRES_EPOCH_MS = 946_684_800_000;

type Keepalive = Extract<ReplicationMessage, { tag: 'keepalive' }>;

/** The part of pg's connection that its typings leave out and that a CopyBoth stream needs. */
interface CopyBothConnection extends NodeJS.EventEmitter {
  readonly stream: Duplex;
  sendCopyFromChunk(chunk: Buffer): void;
}

/**
 * The library gives us pgoutput's parser and the START_REPLICATION command. Its LogicalReplicationService is not used:
 * it acknowledges one byte past what it is told (the next commit may begin there and is then skipped after a restart),
 * acknowledges by itself on a timer, and resumes at the last *received* position. docs/decisions.md has the experiments.
 */
export class ReplicationConnection {
  readonly #client: pg.Client;
  readonly #copy: CopyBothConnection;
  readonly #queue: MessageQueue<Buffer | Keepalive>;
  readonly #plugin: PgoutputPlugin;
  readonly #reader = new MessageCheck();
  #streaming = false;
  #closed = false;

  private constructor(client: pg.Client, publication: string) {
    this.#client = client;
    this.#plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: [publication], messages: true });
    this.#copy = (client as unknown as { connection: CopyBothConnection }).connection;
    this.#queue = new MessageQueue(this.#copy.stream);
    client.on('error', (error) => this.#queue.end(error));
    client.on('end', () => this.#queue.end(new Error('PostgreSQL closed the replication connection.')));
  }

  /** For one `start`, with this publication. */
  static async open(config: pg.ClientConfig, publication: string): Promise<ReplicationConnection> {
    const client = new PostgresClient({
      ...config,
      replication: 'database',
      keepAlive: true,
      options: `-c wal_sender_timeout=${WAL_SENDER_TIMEOUT_MS}`,
    } as pg.ClientConfig);
    await client.connect();
    return new ReplicationConnection(client, publication);
  }

  /** Process id of the walsender that serves us: what pg_replication_slots.active_pid shows while the slot is ours. */
  get walsenderPid(): number {
    return (this.#client as unknown as { processID: number }).processID;
  }

  /** https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-IDENTIFY-SYSTEM */
  async identify(): Promise<KnownServer> {
    const { systemid, timeline, xlogpos } = onlyRow(
      await this.#client.query<{ systemid: string; timeline: number; xlogpos: string }>('IDENTIFY_SYSTEM'),
    );
    return new KnownServer({ systemIdentifier: systemid, timeline: Number(timeline) }, parseLsn(xlogpos));
  }

  /**
   * Creates the slot and returns the name of a snapshot that shows exactly what the slot will not send. It is valid until
   * `start`. `failover`: standbys may have it, too (PostgreSQL 17 on).
   * https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-CREATE-REPLICATION-SLOT
   */
  async createSlot(slot: string, { failover }: { failover: boolean }): Promise<string> {
    const result = await this.#client.query<{ snapshot_name: string }>(
      `CREATE_REPLICATION_SLOT ${pg.escapeIdentifier(slot)} LOGICAL pgoutput (SNAPSHOT 'export'${failover ? ', FAILOVER true' : ''})`,
    );
    return onlyRow(result).snapshot_name;
  }

  /** Of a slot that nobody reads: standbys may have it, too. PostgreSQL 17 on. */
  async makeFailoverSlot(slot: string): Promise<void> {
    await this.#client.query(`ALTER_REPLICATION_SLOT ${pg.escapeIdentifier(slot)} (FAILOVER true)`);
  }

  /**
   * Starts streaming where the slot stands (0/0: the slot knows better than any client what was acknowledged). Rejects
   * with PostgreSQL's error, 55006 for instance while another connection holds the slot.
   */
  async start(slot: string): Promise<void> {
    guardFrames(this.#copy.stream, (error) => this.#queue.end(error));
    this.#copy.on('copyData', ({ chunk }: { chunk: Buffer }) => this.#receive(chunk));
    const accepted = once(this.#copy, 'replicationStart');
    const ended: Promise<never> = this.#plugin.start(this.#client, slot, formatLsn(LSN_ZERO)).then(() => {
      throw new Error('PostgreSQL ended the replication stream.');
    });
    ended.catch((error: Error) => this.#queue.end(error));
    await Promise.race([accepted, ended]);
    this.#streaming = true;
  }

  /**
   * Batches of messages in WAL order; ends without error after `stopReading` or `close`, and throws when the connection is
   * lost or sends what cannot be read.
   */
  async *messages(): AsyncGenerator<readonly ReplicationMessage[]> {
    for await (const batch of this.#queue) {
      const messages: ReplicationMessage[] = [];
      for (const item of batch) {
        const message = Buffer.isBuffer(item) ? this.#read(item) : item;
        if (message) messages.push(message);
      }
      yield messages;
    }
  }

  #read(data: Buffer): ReplicationMessage | null {
    const message = data.subarray(XLOG_HEADER_BYTES);
    try {
      this.#reader.check(message, data.readBigUInt64BE(0) as Lsn);
      return narrow(this.#plugin.parse(message), message.length);
    } catch (error) {
      // The library says it by errors of its own, and by those of a program that reads what is not there.
      throw new UnreadableStream(error);
    }
  }

  #receive(chunk: Buffer): void {
    if (chunk[0] === XLOG_DATA) {
      // Read when its turn comes: until then it is only bytes. A copy, for pg's buffer will hold what comes next.
      this.#queue.push(Buffer.from(chunk.subarray(1)), chunk.length);
    } else if (chunk[0] === KEEPALIVE && chunk.length === KEEPALIVE_BYTES) {
      // Read at once: behind a long transaction thousands wait, and so small a copy would keep a slab of Node's alive.
      this.#queue.push({ tag: 'keepalive', walEnd: chunk.readBigUInt64BE(1) as Lsn }, chunk.length);
    } else this.#queue.end(new UnreadableStream(new Error('A replication message of an unknown type.')));
  }

  /**
   * Standby status update with one position for written, flushed and applied, byte for byte what is given: a commit's end
   * LSN already is the next byte to come. Asks for no reply.
   * https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-STANDBY-STATUS-UPDATE
   */
  sendStatus(acknowledged: Lsn): void {
    if (!this.#streaming || this.#closed) return;
    const status = Buffer.alloc(34);
    status[0] = 0x72; // 'r'
    status.writeBigUInt64BE(acknowledged, 1);
    status.writeBigUInt64BE(acknowledged, 9);
    status.writeBigUInt64BE(acknowledged, 17);
    status.writeBigInt64BE(BigInt(Date.now() - POSTGRES_EPOCH_MS) * 1000n, 25);
    this.#copy.sendCopyFromChunk(status);
  }

  /** Ends `messages` without error; the connection stays open for status updates. */
  stopReading(): void {
    this.#queue.end(null);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.end(null);
    this.#copy.stream.resume();
    await this.#client.end().catch(() => undefined);
  }
}

function narrow(message: Pgoutput.Message, bytes: number): ReplicationMessage | null {
  switch (message.tag) {
    case 'begin':
      return { tag: 'begin', committedAt: new Date(Number(message.commitTime.valueOf() / 1000n)) };
    case 'insert':
      return { tag: 'insert', table: message.relation.name, row: message.new, bytes };
    case 'commit':
      return { tag: 'commit', endLsn: required(message.commitEndLsn) };
    case 'message':
      if (message.transactional || message.prefix !== HEARTBEAT_PREFIX) return null;
      return {
        tag: 'heartbeat',
        walEnd: required(message.messageLsn),
        content: Buffer.from(message.content).toString(),
      };
    default:
      return null; // relation and type are the parser's own; the publication sends nothing else
  }
}

function required(lsn: string | null): Lsn {
  if (lsn === null) throw new Error('PostgreSQL sent a message without the LSN that it must carry.');
  return parseLsn(lsn);
}
