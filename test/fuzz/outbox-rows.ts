// The outbox as a whole: rows that its owner writes by hand, with whatever PostgreSQL lets in, through a connector that runs.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type RunningConnector, startConnector } from '../support/connector.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { type FuzzDatabase, openFuzzDatabase, type Server } from './database.ts';
import { oddJson, oddText } from './hostile-json.ts';
import { int4, payloadIn, TABLES } from './payloads.ts';
import { opened, type Surface } from './surface.ts';
import { until } from './until.ts';

/** From the insert to the last record, however busy the machine is. */
const PATIENCE_MS = 60_000;

interface Row {
  readonly table: string;
  readonly record: number;
  readonly operation: string;
  readonly payload: unknown;
  readonly patient: number | null;
  readonly revision: string;
  readonly previous: unknown;
  readonly attempts: number;
  readonly traceparent: string | null;
}

/** Of few patients, so that rows meet. The highest bigints of all are no revision: the triggers count from 1. */
const fewIds = fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 1, max: 6 }) }, { weight: 1, arbitrary: int4 });
const revision = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 1000 }).map(String) },
  { weight: 1, arbitrary: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String) },
);

const longIdentifier = fc.tuple(fc.constantFrom(500, 3000, 20_000), fc.integer()).map(([length, from]) => ({
  id: 1,
  patient_id: 2,
  identifier_value: `long-${from}`,
  // What does not get smaller where it is packed.
  other_identifiers: [{ identifier_system: 'urn:long', identifier_value: unpackable(length, from) }],
}));

function unpackable(length: number, from: number): string {
  let state = from >>> 0;
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return String.fromCharCode(33 + ((state >>> 25) % 94));
  }).join('');
}

const row: fc.Arbitrary<Row> = fc
  .oneof({ weight: 8, arbitrary: fc.constantFrom(...TABLES) }, { weight: 1, arbitrary: oddText })
  .chain((table) =>
    fc.record({
      table: fc.constant(table),
      record: fewIds,
      operation: fc.oneof(
        { weight: 6, arbitrary: fc.constantFrom('I', 'U', 'D') },
        { weight: 1, arbitrary: fc.constantFrom('T', ' ', '☃') },
      ),
      payload: fc.oneof(
        { weight: 8, arbitrary: payloadIn(TABLES.includes(table) ? table : 'patient') },
        { weight: 1, arbitrary: longIdentifier },
      ),
      patient: fc.option(fewIds, { freq: 8 }),
      revision,
      previous: fc.oneof(
        { weight: 5, arbitrary: fc.constant(null) },
        {
          weight: 2,
          arbitrary: fc.array(
            fc.record({ system: fc.constantFrom('urn:a', '', null), value: oddText, primary: fc.boolean() }),
            { maxLength: 3 },
          ),
        },
        { weight: 1, arbitrary: oddJson },
      ),
      attempts: int4,
      traceparent: fc.option(oddText),
    }),
  );

const INSERT = `
  INSERT INTO fhir_outbox (txid, table_name, record_id, operation, payload_json, patient_id, patient_revision, previous_identifiers, attempts, traceparent)
  VALUES (pg_current_xact_id()::text::bigint, $1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id`;

class World {
  readonly database: FuzzDatabase;
  readonly ledger: FhirLedger;
  readonly connector: RunningConnector;
  #others = 0;

  constructor(database: FuzzDatabase, ledger: FhirLedger, connector: RunningConnector) {
    this.database = database;
    this.ledger = ledger;
    this.connector = connector;
  }

  async holds(rows: readonly Row[]): Promise<void> {
    const ids: string[] = [];
    for (const each of rows) {
      const id = await this.#insert(each);
      if (id !== null) ids.push(id);
    }
    this.#others += 1;
    // Of a patient whom none of the rows is about.
    const other = `other-${this.#others}`;
    await this.database.pool.query(
      `INSERT INTO patient (id, identifier_system, identifier_value) VALUES (1000000 + $1::int, 'urn:other', $2)`,
      [this.#others, other],
    );
    await until(this.connector, PATIENCE_MS, 'somebody else is delivered', () =>
      this.ledger.writes.some(({ body }) => JSON.stringify(body).includes(`"${other}"`)),
    );
    await until(this.connector, PATIENCE_MS, 'all rows have ended', async () => {
      const { rows: left } = await this.database.pool.query('SELECT FROM fhir_outbox WHERE NOT processed LIMIT 1');
      return left.length === 0;
    });
    const { rows: lost } = await this.database.pool.query(
      `SELECT o.id FROM fhir_outbox o WHERE o.id = ANY ($1::bigint[]) AND o.fhir_resource_id IS NULL
          AND o.operation <> 'D' AND o.last_error IS DISTINCT FROM 'superseded by a newer state'
          AND NOT EXISTS (SELECT FROM fhir_dlq d WHERE d.outbox_id = o.id)`,
      [ids],
    );
    assert.deepEqual(lost, [], 'A row is neither delivered, superseded nor a dead letter.');
    this.ledger.writes.length = 0;
  }

  /** Null for what PostgreSQL itself lets nobody write: U+0000, numbers beyond its own, nesting beyond its stack. */
  async #insert({ table, record, operation, payload, patient, revision, previous, attempts, traceparent }: Row) {
    const values = [
      table,
      record,
      operation,
      jsonOf(payload),
      patient,
      revision,
      previous === null ? null : jsonOf(previous),
      attempts,
      traceparent,
    ];
    try {
      return (await this.database.pool.query<{ id: string }>(INSERT, values)).rows[0]?.id ?? null;
    } catch (error) {
      if (/^(22|23|54)/.test(String((error as { code?: unknown }).code))) return null;
      throw error;
    }
  }
}

/** By way of V8, which writes a number that PostgreSQL would refuse as null; null for what is nested beyond what it can write. */
function jsonOf(value: unknown): string | null {
  try {
    return JSON.stringify(value);
  } catch {
    return null;
  }
}

export function outboxRows(server: Server | null): Surface {
  return {
    name: 'outbox-rows',
    async open() {
      const database = await openFuzzDatabase(server);
      const ledger = await FhirLedger.start();
      const connector = startConnector(database, ledger.url, { resources: ['Patient', 'Encounter', 'Observation'] });
      const world = new World(database, ledger, connector);
      const end = async () => {
        await connector.stop().catch(() => undefined);
        await database.drop();
        await ledger.stop();
      };
      return opened(fc.array(row, { minLength: 1, maxLength: 12 }), (rows) => world.holds(rows), end);
    },
  };
}
