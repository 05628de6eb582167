// What was committed, read from the WAL through a slot of the test's own: neither the triggers nor the connector is asked.
import type pg from 'pg';
import { type Pgoutput, PgoutputPlugin } from 'pg-logical-replication';
import { patient } from '../../src/fhir/mapping/patient.ts';
import { ROW_MAPPINGS } from '../../src/fhir/mapping/tables.ts';
import { formatLsn, type Lsn, parseLsn } from '../../src/postgres/lsn.ts';
import type { Body } from '../support/fhir-ledger.ts';
import { whoIs } from './workload.ts';

/** What one transaction made of one row. */
export interface Change {
  /** As Patient 7, or pulse 3. */
  readonly who: string;
  readonly txid: number;
  /** The resource as it must be afterwards, its references by who is referred to; null: deleted. */
  readonly body: Body | null;
  /** It came and went within the transaction, so nothing need be seen of it. */
  readonly optional: boolean;
}

interface OpenTransaction {
  readonly txid: number;
  /** By who, as all of these: what is known of each from before, in the order in which they were touched. */
  readonly existed: Map<string, boolean>;
  readonly deleted: Map<string, Body | null>;
}

/** A row that is a resource of its own. */
interface Source {
  readonly table: string;
  readonly id: number;
}

type Row = Record<string, unknown>;

export const ORACLE_SLOT = 'oracle';
const PUBLICATION = 'oracle_pub';

export class WalOracle {
  readonly changes: Change[] = [];
  /** txid → end of its commit. */
  readonly commits = new Map<number, Lsn>();
  /** Commit records that begin exactly where the one before ends. */
  touching = 0;
  /** The rows that are resources, by who. */
  readonly rows = new Map<string, Row>();
  readonly #others = new Map<number, Row>();
  readonly #plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: [PUBLICATION] });
  readonly #deletes: 'deactivate' | 'delete';
  #ownSystem = '';
  #seen = 0n as Lsn;
  #open: OpenTransaction | null = null;

  constructor(deletes: 'deactivate' | 'delete') {
    this.#deletes = deletes;
  }

  async create(db: pg.Pool): Promise<void> {
    const { rows } = await db.query<{ uri: string }>('SELECT uri FROM fhir_own_system');
    this.#ownSystem = rows[0]?.uri ?? '';
    await db.query(
      `CREATE PUBLICATION ${PUBLICATION} FOR TABLE patient, patient_other_identifiers, form, blood_pressure, pulse`,
    );
    await db.query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, [ORACLE_SLOT]);
  }

  /** Takes what was committed since; the slot moves on only after it was taken, so that a broken connection loses nothing. */
  async drain(db: pg.Pool): Promise<void> {
    for (;;) {
      const before = await db.query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn');
      const { rows } = await db.query<{ data: Buffer }>(
        `SELECT data FROM pg_logical_slot_peek_binary_changes($1, NULL, 2000, 'proto_version', '1', 'publication_names', $2)`,
        [ORACLE_SLOT, PUBLICATION],
      );
      for (const { data } of rows) this.#take(this.#plugin.parse(data));
      // Nothing was committed before that position: an idle slot must not fall behind either.
      const upTo = rows.length > 0 ? formatLsn(this.#seen) : before.rows[0]?.lsn;
      await db.query('SELECT pg_replication_slot_advance($1, $2)', [ORACLE_SLOT, upTo]);
      if (rows.length === 0) return;
    }
  }

  #take(message: Pgoutput.Message): void {
    switch (message.tag) {
      case 'begin':
        this.#open = { txid: message.xid >>> 0, existed: new Map(), deleted: new Map() };
        // A server that crashed may send again what was taken already.
        if (parseLsn(message.commitLsn ?? '') < this.#seen) this.#open = null;
        break;
      case 'commit':
        if (this.#open)
          this.#close(this.#open, parseLsn(message.commitLsn ?? ''), parseLsn(message.commitEndLsn ?? ''));
        this.#open = null;
        break;
      case 'insert':
        this.#change(message.relation.name, null, message.new);
        break;
      case 'update':
        this.#change(message.relation.name, message.key ?? message.old ?? null, message.new);
        break;
      case 'delete':
        this.#change(message.relation.name, message.key ?? message.old ?? null, null);
        break;
      default:
    }
  }

  #change(table: string, before: Row | null, after: Row | null): void {
    const transaction = this.#open;
    if (!transaction) return;
    const id = Number((after ?? before)?.id);
    const touch = (who: string) => {
      if (!transaction.existed.has(who)) transaction.existed.set(who, this.rows.has(who));
    };
    if (table !== 'patient_other_identifiers') {
      const who = whoIs(table, id);
      touch(who);
      if (after) this.rows.set(who, after);
      else {
        transaction.deleted.set(who, this.#expected({ table, id }, true));
        this.rows.delete(who);
      }
      return;
    }
    const old = this.#others.get(id);
    if (old) touch(whoIs('patient', Number(old.patient_id)));
    if (after) {
      touch(whoIs('patient', Number(after.patient_id)));
      this.#others.set(id, after);
    } else this.#others.delete(id);
  }

  #close({ txid, existed, deleted }: OpenTransaction, commitLsn: Lsn, endLsn: Lsn): void {
    if (commitLsn === this.#seen) this.touching += 1;
    this.#seen = endLsn;
    this.commits.set(txid, endLsn);
    for (const [who, before] of existed) {
      if (this.rows.has(who))
        this.changes.push({ who, txid, body: this.#expected(sourceOf(who), false), optional: false });
      else if (deleted.has(who)) this.changes.push({ who, txid, body: deleted.get(who) ?? null, optional: !before });
    }
  }

  /** The resource as it stands in the model. */
  #expected({ table, id }: Source, deleting: boolean): Body | null {
    if (deleting && this.#deletes === 'delete') return null;
    return table === 'patient' ? this.#patient(id, deleting) : this.#record({ table, id }, deleting);
  }

  #record({ table, id }: Source, deleting: boolean): Body {
    const mapping = ROW_MAPPINGS.find((each) => each.table === table);
    const payload = {
      ...Object.fromEntries(
        Object.entries(this.rows.get(whoIs(table, id)) ?? {}).filter(([, value]) => !(value instanceof Date)),
      ),
      fhir_identifier: { system: this.#ownSystem, value: `${table}/${id}` },
    };
    const mapped = mapping?.map(payload, 'us-core', deleting);
    if (!mapped?.ok) throw new Error(`The workload made a ${table} that cannot be mapped: ${mapped?.reason}`);
    const references = mapped.references.map(({ element, ...to }) => [element, { reference: whoIs(to.table, to.id) }]);
    return { ...mapped.resource, ...Object.fromEntries(references) };
  }

  #patient(patientId: number, deleting: boolean): Body {
    const others = [...this.#others.values()]
      .filter((row) => Number(row.patient_id) === patientId)
      .sort((a, b) => Number(a.id) - Number(b.id));
    const payload = { ...this.rows.get(whoIs('patient', patientId)), other_identifiers: others };
    const mapped = patient.map(payload, 'us-core', deleting);
    if (!mapped.ok) throw new Error(`The workload made a patient that cannot be mapped: ${mapped.reason}`);
    return mapped.resource as unknown as Body;
  }
}

function sourceOf(who: string): Source {
  const [table = '', id] = who.split(' ');
  return { table: table === 'Patient' ? 'patient' : table, id: Number(id) };
}
