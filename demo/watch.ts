// What becomes of each committed transaction, from the database alone: a slot of one's own tells of commits in their
// order and with their LSNs, the outbox how they ended, and the connector's slot what it has acknowledged.

import type pg from 'pg';
import { PgoutputPlugin } from 'pg-logical-replication';
import { formatLsn, LSN_ZERO, type Lsn, parseLsn } from '../src/postgres/lsn.ts';

interface OutboxRow {
  readonly id: string;
  readonly table: string;
  readonly operation: string;
}

/** The rows of one patient in one transaction: one PUT. */
export interface Delivery {
  readonly rows: readonly OutboxRow[];
  readonly end: 'delivered' | 'superseded' | 'dead-letter' | 'removed';
  /** Null when nothing had to be sent. */
  readonly fhirId: string | null;
  readonly versionId: string | null;
  readonly reason: string | null;
  readonly finishedAt: Date | null;
}

/** A transaction whose deliveries are finished and whose commit is acknowledged. */
export interface WatchedTransaction {
  readonly txid: string;
  readonly committedAt: Date;
  readonly endLsn: Lsn;
  /** Committed before the connector's slot was made: caught up with, never streamed. */
  readonly beforeSlot: boolean;
  readonly deliveries: readonly Delivery[];
}

interface Open {
  readonly committedAt: Date;
  endLsn: Lsn;
  /** As the slot sent them. */
  readonly rows: { id: string; txid: string; table_name: string; operation: string; patient_id: number | null }[];
}

interface Standing {
  readonly id: string;
  readonly processed: boolean;
  readonly processed_at: Date | null;
  readonly fhir_resource_id: string | null;
  readonly fhir_version: string | null;
  readonly last_error: string | null;
  /** Why it is a dead letter; null when it is none. */
  readonly dead: string | null;
}

const OWN_SLOT = 'demo_watch';

export class Watch {
  readonly #client: pg.ClientBase;
  readonly #slot: string;
  readonly #publication: string;
  readonly #plugin: PgoutputPlugin;
  #open: Open[] = [];
  #slotBegan: Lsn | null = null;

  private constructor(client: pg.ClientBase, slot: string, publication: string) {
    this.#client = client;
    this.#slot = slot;
    this.#publication = publication;
    this.#plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: [publication] });
  }

  /** From now on; `client` is a superuser's and used for nothing else. The slot ends with its connection. */
  static async start(client: pg.ClientBase, slot: string, publication: string): Promise<Watch> {
    await client.query(`SELECT pg_create_logical_replication_slot('${OWN_SLOT}', 'pgoutput', temporary => true)`);
    // Each look at the slot would write lines into the server's log, ten times a second.
    await client.query("SET log_min_messages = 'fatal'");
    return new Watch(client, slot, publication);
  }

  /** How many transactions are not finished or not acknowledged, as of the last look. */
  get waiting(): number {
    return this.#open.length;
  }

  /** The transactions that were finished and acknowledged since the last look, in commit order. */
  async look(): Promise<WatchedTransaction[]> {
    await this.#readCommits();
    if (this.#open.length === 0) return [];
    const confirmed = await this.#confirmed();
    if (confirmed === null) return [];
    this.#slotBegan ??= confirmed;
    const acknowledged = this.#open.filter(({ endLsn }) => endLsn <= confirmed);
    const standings = await this.#standings(acknowledged.flatMap(({ rows }) => rows.map(({ id }) => id)));
    const finished = acknowledged.filter(({ rows }) => rows.every(({ id }) => standings.get(id)?.processed !== false));
    this.#open = this.#open.filter((transaction) => !finished.includes(transaction));
    return finished.map((transaction) => this.#describe(transaction, standings));
  }

  /** The beginning of a sentence about what is not finished. */
  async whatWaits(): Promise<string> {
    const { rows } = await this.#client.query<{ open: number; error: string | null }>(
      'SELECT count(*)::int AS open, min(last_error) AS error FROM fhir_outbox WHERE NOT processed',
    );
    const { open = 0, error = null } = rows[0] ?? {};
    if (open > 0) return `${open} outbox rows are not delivered${error === null ? '' : ` (${error})`}`;
    const [first] = this.#open;
    return `All is delivered, but the slot ${this.#slot} does not pass the commit at ${formatLsn(first?.endLsn ?? LSN_ZERO)}`;
  }

  async #readCommits(): Promise<void> {
    const { rows } = await this.#client.query<{ data: Buffer }>(
      `SELECT data FROM pg_logical_slot_get_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', $2)`,
      [OWN_SLOT, this.#publication],
    );
    let current: Open | null = null;
    for (const { data } of rows) {
      const message = this.#plugin.parse(data);
      if (message.tag === 'begin') {
        const committedAt = new Date(Number(message.commitTime.valueOf() / 1000n));
        current = { committedAt, endLsn: LSN_ZERO, rows: [] };
      } else if (message.tag === 'insert') {
        const { id, txid, table_name, operation, patient_id } = message.new as Open['rows'][number];
        current?.rows.push({ id, txid, table_name, operation, patient_id });
      } else if (message.tag === 'commit' && current) {
        current.endLsn = parseLsn(message.commitEndLsn ?? '0/0');
        if (current.rows.length > 0) this.#open.push(current);
      }
    }
  }

  async #confirmed(): Promise<Lsn | null> {
    const { rows } = await this.#client.query<{ lsn: string | null }>(
      'SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = $1',
      [this.#slot],
    );
    return rows[0]?.lsn ? parseLsn(rows[0].lsn) : null;
  }

  async #standings(ids: readonly string[]): Promise<Map<string, Standing>> {
    const { rows } = await this.#client.query<Standing>(
      `SELECT o.id::text, processed, processed_at, fhir_resource_id, fhir_version, last_error,
              (SELECT min(d.error_text) FROM fhir_dlq AS d WHERE d.outbox_id = o.id) AS dead
         FROM fhir_outbox AS o WHERE id = ANY ($1::bigint[])`,
      [ids],
    );
    return new Map(rows.map((row) => [row.id, row]));
  }

  #describe({ rows, committedAt, endLsn }: Open, standings: ReadonlyMap<string, Standing>): WatchedTransaction {
    const patients = Map.groupBy(rows, ({ patient_id }) => patient_id);
    return {
      txid: rows[0]?.txid ?? '',
      committedAt,
      endLsn,
      beforeSlot: this.#slotBegan !== null && endLsn <= this.#slotBegan,
      deliveries: [...patients.values()].map((of) => deliveryOf(of, standings)),
    };
  }
}

function deliveryOf(rows: Open['rows'], standings: ReadonlyMap<string, Standing>): Delivery {
  const all = rows.flatMap(({ id }) => standings.get(id) ?? []);
  const standing = all.find(({ dead }) => dead !== null) ?? all.at(-1);
  const delivered = standing?.fhir_resource_id != null || standing?.last_error === null;
  return {
    rows: rows.map(({ id, table_name, operation }) => ({ id, table: table_name, operation })),
    end: !standing ? 'removed' : standing.dead !== null ? 'dead-letter' : delivered ? 'delivered' : 'superseded',
    fhirId: standing?.fhir_resource_id ?? null,
    versionId: standing?.fhir_version ?? null,
    reason: standing?.dead ?? null,
    finishedAt: standing?.processed_at ?? null,
  };
}
