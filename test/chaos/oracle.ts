// What was committed, read from the WAL through a slot of the test's own: neither the triggers nor the connector is asked.
import type pg from 'pg';
import { type Pgoutput, PgoutputPlugin } from 'pg-logical-replication';
import { mapPatient } from '../../src/fhir/patient-mapper.ts';
import { patientPayload } from '../../src/fhir/patient-payload.ts';
import { formatLsn, type Lsn, parseLsn } from '../../src/lsn.ts';
import type { Body } from '../support/fhir-ledger.ts';

/** What one transaction made of one patient. */
export interface Change {
  readonly patientId: number;
  readonly txid: number;
  /** The resource as it must be afterwards; null: deleted. */
  readonly body: Body | null;
  /** It came and went within the transaction, so nothing need be seen of it. */
  readonly optional: boolean;
}

interface OpenTransaction {
  readonly txid: number;
  readonly existed: Map<number, boolean>;
  readonly touched: Set<number>;
  readonly deleted: Map<number, Body | null>;
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
  readonly patients = new Map<number, Row>();
  readonly #others = new Map<number, Row>();
  readonly #plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: [PUBLICATION] });
  readonly #deletes: 'deactivate' | 'delete';
  #seen = 0n as Lsn;
  #open: OpenTransaction | null = null;

  constructor(deletes: 'deactivate' | 'delete') {
    this.#deletes = deletes;
  }

  async create(db: pg.Pool): Promise<void> {
    await db.query(`CREATE PUBLICATION ${PUBLICATION} FOR TABLE patient, patient_other_identifiers`);
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
        this.#open = { txid: message.xid >>> 0, existed: new Map(), touched: new Set(), deleted: new Map() };
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
    const touch = (patientId: number) => {
      if (!transaction.existed.has(patientId)) transaction.existed.set(patientId, this.patients.has(patientId));
      transaction.touched.add(patientId);
    };
    if (table === 'patient') {
      touch(id);
      if (after) this.patients.set(id, after);
      else {
        transaction.deleted.set(id, this.#expected(id, true));
        this.patients.delete(id);
      }
      return;
    }
    const old = this.#others.get(id);
    if (old) touch(Number(old.patient_id));
    if (after) {
      touch(Number(after.patient_id));
      this.#others.set(id, after);
    } else this.#others.delete(id);
  }

  #close({ txid, existed, touched, deleted }: OpenTransaction, commitLsn: Lsn, endLsn: Lsn): void {
    if (commitLsn === this.#seen) this.touching += 1;
    this.#seen = endLsn;
    this.commits.set(txid, endLsn);
    for (const patientId of touched) {
      if (this.patients.has(patientId))
        this.changes.push({ patientId, txid, body: this.#expected(patientId, false), optional: false });
      else if (deleted.has(patientId))
        this.changes.push({
          patientId,
          txid,
          body: deleted.get(patientId) ?? null,
          optional: !existed.get(patientId),
        });
    }
  }

  /** The resource of a patient as it stands in the model. */
  #expected(patientId: number, deleting: boolean): Body | null {
    if (deleting && this.#deletes === 'delete') return null;
    const others = [...this.#others.values()]
      .filter((row) => Number(row.patient_id) === patientId)
      .sort((a, b) => Number(a.id) - Number(b.id));
    const payload = patientPayload.parse({ ...this.patients.get(patientId), other_identifiers: others });
    const mapped = mapPatient(payload, 'us-core', deleting ? { active: false } : {});
    if (!mapped.ok) throw new Error(`The workload made a patient that cannot be mapped: ${mapped.reason}`);
    return mapped.resource as unknown as Body;
  }
}
