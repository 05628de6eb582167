// The replication stream, changed on its way: nothing that could not be read is acknowledged, and everything arrives afterwards.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Lsn, parseLsn } from '../../src/postgres/lsn.ts';
import { type RunningConnector, startConnector } from '../support/connector.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { type Mutate, MutatingProxy } from '../support/mutating-proxy.ts';
import { type FuzzDatabase, openFuzzDatabase, type Server } from './database.ts';
import { opened, type Surface } from './surface.ts';
import { until } from './until.ts';

/** From the end of the changes on the way to the last record: a half-open stream is given up after ten seconds. */
const PATIENCE_MS = 90_000;
const HEADER = 5;

type Kind = keyof typeof CHANGES;

interface Change {
  readonly kind: Kind;
  /** Of the frames of a run. */
  readonly every: number;
  readonly at: number;
  readonly value: number;
}

/** Behind the type and the length: w, three numbers of 64 bits, and the message. Or k and what a keepalive has. */
const CHANGES = {
  cut: (frame, { at }) => withLength(frame.subarray(0, HEADER + (at % (frame.length - HEADER)))),
  'longer than it says': (frame, { value }) => Buffer.concat([frame, Buffer.alloc(1 + (value % 20), value)]),
  'huge length': (frame, { value }) => {
    const changed = Buffer.from(frame);
    changed.writeUInt32BE(value % 2 === 0 ? 0xffff_ffff : 0x4000_0000 + value, 1);
    return changed;
  },
  'small length': (frame, { value }) => {
    const changed = Buffer.from(frame);
    changed.writeUInt32BE(value % 8, 1);
    return changed;
  },
  'type of frame': (frame, { value }) => replaced(frame, 0, value),
  'type of data': (frame, { value }) => replaced(frame, HEADER, value),
  'type of message': (frame, { value }) => {
    const [insert, update] = [0x49, 0x55];
    // An insert that is called an update has the form of one: nothing can tell that (docs/guarantees.md).
    return frame[30] === insert && value % 256 === update ? frame : replaced(frame, 30, value);
  },
  'wild LSN': (frame, { value }) => {
    if (frame.length < HEADER + 9) return frame;
    const changed = Buffer.from(frame);
    // In the upper half: what is a little too far cannot be told from what is right.
    changed[HEADER + 1 + (value % 4)] = 1 + (value % 255);
    return changed;
  },
  'wild commit': (frame, { value }) => {
    if (frame[30] !== 0x43) return frame;
    const changed = Buffer.from(frame);
    changed[HEADER + 25 + 2 + (value % 16)] = (changed[HEADER + 25 + 2 + (value % 16)] ?? 0) ^ (1 + (value % 255));
    return changed;
  },
  'columns of a row': (frame, { value }) => {
    if (frame[30] !== 0x49) return frame;
    const changed = Buffer.from(frame);
    changed.writeInt16BE((changed.readInt16BE(HEADER + 25 + 6) + 1 + (value % 30)) % 0x7fff, HEADER + 25 + 6);
    return changed;
  },
  'kind of a column': (frame, { value }) =>
    frame[30] === 0x49 ? replaced(frame, HEADER + 25 + 8, value % 2 === 0 ? 0x62 : 0x75) : frame,
  'no UTF-8': (frame) => {
    if (frame[30] !== 0x49) return frame;
    const changed = Buffer.from(frame);
    changed[changed.length - 1] = changed.includes('}') ? 0xff : (changed[changed.length - 1] ?? 0);
    const at = changed.lastIndexOf('"');
    if (at > 0) changed[at - 1] = 0xff;
    return changed;
  },
  'large length': (frame, { value }) => {
    const changed = Buffer.from(frame);
    changed.writeUInt32BE(100_000 + value * 1000, 1);
    return changed;
  },
  // A row that is lost as a whole leaves no trace in the stream; the look at the outbox that each new connection takes finds it.
  lost: (frame) => (frame[30] === 0x49 ? frame : Buffer.alloc(0)),
  twice: (frame) => Buffer.concat([frame, frame]),
  'an error without an end': (frame) => Buffer.concat([withLength(Buffer.from('E\0\0\0\0SERROR\0C57P01')), frame]),
  'a row of a query': (frame) => Buffer.concat([withLength(Buffer.from('D\0\0\0\0\xff\xff', 'latin1')), frame]),
  garbage: (_, { at, value }) => Buffer.alloc(1 + (at % 5000), value),
} satisfies Record<string, (frame: Buffer, change: Change) => Buffer>;

function replaced(frame: Buffer, at: number, value: number): Buffer {
  const changed = Buffer.from(frame);
  if (at < changed.length) changed[at] = value % 256;
  return changed;
}

function withLength(frame: Buffer): Buffer {
  const whole = Buffer.from(frame);
  whole.writeUInt32BE(whole.length - 1, 1);
  return whole;
}

const CHANGE: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom(...(Object.keys(CHANGES) as Kind[])),
  every: fc.integer({ min: 1, max: 6 }),
  at: fc.nat(5000),
  value: fc.nat(0xffff),
});

class World {
  readonly database: FuzzDatabase;
  readonly proxy: MutatingProxy;
  readonly sink: FhirSink;
  readonly connector: RunningConnector;
  #written = 0;

  constructor(database: FuzzDatabase, proxy: MutatingProxy, sink: FhirSink, connector: RunningConnector) {
    this.database = database;
    this.proxy = proxy;
    this.sink = sink;
    this.connector = connector;
  }

  async holds(changes: readonly Change[]): Promise<void> {
    let frames = 0;
    const change: Mutate = (frame) => {
      frames += 1;
      const one = changes[frames % changes.length];
      if (!one || frames % one.every !== 0) return frame;
      return (CHANGES[one.kind] as (frame: Buffer, change: Change) => Buffer)(frame, one);
    };
    const ends = new Map<string, Lsn>();
    const looks: Promise<void>[] = [];
    this.proxy.onStatus = (flushed) => looks.push(this.#mustBeFinished(flushed, ends));
    this.proxy.mutate = change;
    const values: string[] = [];
    for (let rows = 0; rows < 4; rows += 1) {
      this.#written += 1;
      values.push(`p-${this.#written}`);
      await this.database.pool.query(
        `INSERT INTO patient (identifier_system, identifier_value, name_family) VALUES ('urn:t', $1, 'Ünï')`,
        [`p-${this.#written}`],
      );
      const { rows: after } = await this.database.pool.query<{ id: string; wal: string }>(
        'SELECT max(id) AS id, pg_current_wal_insert_lsn()::text AS wal FROM fhir_outbox',
      );
      ends.set(after[0]?.id ?? '', parseLsn(after[0]?.wal ?? ''));
    }
    // A little of it has to have come through the changes, or nothing was changed.
    await until(this.connector, PATIENCE_MS, 'some frames have been changed', async () => frames > 6);
    this.proxy.mutate = null;
    await until(this.connector, PATIENCE_MS, 'all rows have ended', async () => {
      const { rows } = await this.database.pool.query('SELECT FROM fhir_outbox WHERE NOT processed LIMIT 1');
      return rows.length === 0;
    });
    await Promise.all(looks);
    for (const value of values) {
      const puts = this.sink.putsOf(value);
      assert.ok(puts.length > 0, `${value} never arrived.`);
      for (const { body } of puts) assert.equal((body.name as { family: string }[])[0]?.family, 'Ünï');
    }
    const { rows: dead } = await this.database.pool.query('SELECT error_text FROM fhir_dlq');
    assert.deepEqual(dead, []);
    this.sink.puts.length = 0;
  }

  /** Asked as soon as it was acknowledged: what is not recorded by then was not recorded before, and no position is beyond the WAL. */
  async #mustBeFinished(flushed: Lsn, ends: ReadonlyMap<string, Lsn>): Promise<void> {
    const { rows } = await this.database.pool.query<{ wal: string; unfinished: string[] | null }>(
      `SELECT pg_current_wal_insert_lsn()::text AS wal, array_agg(id::text) AS unfinished FROM fhir_outbox WHERE NOT processed`,
    );
    assert.ok(flushed <= parseLsn(rows[0]?.wal ?? ''), 'A position was acknowledged that the WAL has not reached.');
    for (const id of rows[0]?.unfinished ?? [])
      assert.ok(!(flushed >= (ends.get(id) ?? flushed + 1n)), 'A position behind an unfinished row was acknowledged.');
  }
}

export function frames(server: Server | null): Surface {
  return {
    name: 'frames',
    async open() {
      const database = await openFuzzDatabase(server);
      const { host, port } = database.config;
      const proxy = await MutatingProxy.start(host, port);
      const sink = await FhirSink.start();
      const config = { ...database.config, host: '127.0.0.1', port: proxy.port };
      const connector = startConnector({ name: database.name, config }, sink.url);
      const world = new World(database, proxy, sink, connector);
      const end = async () => {
        await connector.stop().catch(() => undefined);
        await proxy.stop();
        await database.drop();
        await sink.stop();
      };
      return opened(fc.array(CHANGE, { minLength: 1, maxLength: 3 }), (changes) => world.holds(changes), end);
    },
  };
}
