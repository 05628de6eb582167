// A connector whose FHIR server, or something before it, answers what no server should, and then works: nobody is lost or mixed up.
import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import fc from 'fast-check';
import { type RunningConnector, startConnector } from '../support/connector.ts';
import { FhirLedger, tokensOf } from '../support/fhir-ledger.ts';
import { type FuzzDatabase, openFuzzDatabase, type Server as PostgresServer } from './database.ts';
import { ANSWER, type Answer, send } from './hostile-answers.ts';
import { opened, type Surface } from './surface.ts';
import { until } from './until.ts';

/** From the end of the hostility to the last record: a Retry-After may be of minutes, but the fuzzed ones are of none. */
const PATIENCE_MS = 120_000;
const TIMEOUT_MS = 500;
/** How long an answer may take until its connection is cut. */
const CUT_MS = 700;

/** In front of the ledger. */
class Front {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #port: number;
  /** Given instead of the ledger's; null lets all pass. */
  answers: readonly { readonly answer: Answer; readonly applied: boolean }[] | null = null;
  given = 0;

  private constructor(port: number) {
    this.#port = port;
    this.#server = createServer((client) => this.#join(client));
  }

  static async start(port: number): Promise<Front> {
    const front = new Front(port);
    await new Promise<void>((resolve) => front.#server.listen(0, '127.0.0.1', resolve));
    return front;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/fhir`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(client: Socket): void {
    const ledger = connect(this.#port, '127.0.0.1');
    for (const [one, other] of [
      [client, ledger],
      [ledger, client],
    ] as const) {
      this.#sockets.add(one);
      one
        .on('error', () => other.destroy())
        .on('close', () => {
          this.#sockets.delete(one);
          // What was applied is applied, whatever the client hears of it.
          if (other === client || !hostile) other.destroy();
          else other.end();
        });
    }
    let hostile = false;
    ledger.on('data', (bytes) => hostile || client.write(bytes));
    client.on('data', (bytes) => {
      const one = hostile ? null : this.answers?.[this.given % this.answers.length];
      if (!one) {
        if (!hostile) ledger.write(bytes);
        return;
      }
      hostile = true;
      this.given += 1;
      if (one.applied) ledger.write(bytes);
      send(client, one.answer);
      setTimeout(() => client.destroy(), CUT_MS).unref();
    });
  }
}

class World {
  readonly database: FuzzDatabase;
  readonly front: Front;
  readonly ledger: FhirLedger;
  readonly connector: RunningConnector;
  #patients = 0;

  constructor(database: FuzzDatabase, front: Front, ledger: FhirLedger, connector: RunningConnector) {
    this.database = database;
    this.front = front;
    this.ledger = ledger;
    this.connector = connector;
  }

  async holds(answers: NonNullable<Front['answers']>): Promise<void> {
    const { pool } = this.database;
    const before = this.#patients;
    this.front.given = 0;
    this.front.answers = answers;
    for (let each = 0; each < 3; each += 1) {
      this.#patients += 1;
      await pool.query(`INSERT INTO patient (id, identifier_system, identifier_value) VALUES ($1, 'urn:t', $2)`, [
        this.#patients,
        `p-${this.#patients}`,
      ]);
    }
    if (before > 0) await pool.query(`UPDATE patient SET name_family = 'F' || id WHERE id > $1`, [before - 3]);
    await until(this.connector, PATIENCE_MS, 'something was answered', async () => this.front.given >= answers.length);
    this.front.answers = null;
    await pool.query(`UPDATE patient SET name_given = 'after' WHERE id > $1`, [before]);
    await until(this.connector, PATIENCE_MS, 'all rows have ended', async () => {
      const { rows } = await pool.query('SELECT FROM fhir_outbox WHERE NOT processed LIMIT 1');
      return rows.length === 0;
    });
    const owners = new Map<string, string>();
    for (const { id, body } of this.ledger.writes) {
      const [token] = tokensOf(body);
      if (token === undefined) continue;
      assert.equal(owners.get(id) ?? token, token, `Two patients were written to the resource ${id}.`);
      owners.set(id, token);
    }
    for (let id = before + 1; id <= this.#patients; id += 1) {
      const isThere = [...owners.values()].some((token) => token.endsWith(`|p-${id}`));
      const { rows } = await pool.query('SELECT FROM fhir_dlq WHERE patient_id = $1', [id]);
      assert.ok(isThere || rows.length > 0, `Patient ${id} is neither there nor a dead letter.`);
    }
  }
}

/** One that asks for minutes of patience would have them. */
const ANSWERS = fc.array(
  fc.record({
    answer: ANSWER.map((answer) => ({ ...answer, headers: answer.headers.filter(([name]) => name !== 'Retry-After') })),
    applied: fc.boolean(),
  }),
  { minLength: 1, maxLength: 6 },
);

export function hostileServer(server: PostgresServer | null): Surface {
  return {
    name: 'hostile-server',
    async open() {
      const database = await openFuzzDatabase(server);
      const ledger = await FhirLedger.start();
      const front = await Front.start(Number(new URL(ledger.url).port));
      const connector = startConnector(database, front.url, { timeoutMs: TIMEOUT_MS, maxRetries: 3 });
      // At its first start a server that is none of FHIR's ends the connector, as it should.
      while (connector.metrics.connectorState.get() !== 'streaming') await Promise.race([connector.done, pause(10)]);
      const world = new World(database, front, ledger, connector);
      const end = async () => {
        await connector.stop().catch(() => undefined);
        await front.stop();
        await database.drop();
        await ledger.stop();
      };
      return opened(ANSWERS, (answers) => world.holds(answers), end);
    },
  };
}
