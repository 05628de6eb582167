// Compares the rows of one table while others change them: only what is the same in the database before and after can be drift.
import type { FhirClient } from '../fhir/client/fhir-client.ts';
import type { Profile } from '../fhir/mapping/mapped-resource.ts';
import type { ResourceKind } from '../outbox/delivery/kinds.ts';
import { referencesOf } from '../outbox/delivery/references.ts';
import type { Source } from '../outbox/delivery/source.ts';
import { connectorRuns } from '../outbox/operator/room.ts';
import type { Database } from '../outbox/tables/database.ts';
import { pause } from '../pause.ts';
import { judge, type Verdict } from './judge.ts';
import { type Reading, readResource } from './resource-reader.ts';
import { fhirIdsOf, type RowState, readSources } from './row-states.ts';

type Final = Exclude<Verdict, { kind: 'on-its-way' }>;
type Decided = Exclude<Final, { kind: 'same' }>;

const BATCH = 200;
const ROUND_MS = 1000;
/** So long without any row being decided: whatever is still on its way is not going to arrive soon. */
const PATIENCE_MS = 30_000;
/** Likewise while nobody delivers. A second connector takes over within ten seconds. */
const PATIENCE_ALONE_MS = 12_000;

export class Check {
  readonly #db: Database;
  readonly #fhir: FhirClient;
  readonly #kind: ResourceKind;
  readonly #profile: Profile;
  readonly #concurrency: number;
  readonly #signal: AbortSignal;
  /** Not decided yet, with the state of the database in which drift was last seen; null when none was. */
  readonly #open = new Map<number, string | null>();
  readonly #decided = new Map<number, Decided>();
  #same = 0;

  constructor(
    db: Database,
    fhir: FhirClient,
    kind: ResourceKind,
    { profile, concurrency }: { profile: Profile; concurrency: number },
    signal: AbortSignal,
  ) {
    this.#db = db;
    this.#fhir = fhir;
    this.#kind = kind;
    this.#profile = profile;
    this.#concurrency = concurrency;
    this.#signal = signal;
  }

  /** Rows that are the same on both sides. */
  get same(): number {
    return this.#same;
  }

  /** On their way all the time. */
  get undecided(): number[] {
    return [...this.#open.keys()];
  }

  /** What is decided and not the same, by row. */
  decided<K extends Decided['kind']>(kind: K): [number, Extract<Decided, { kind: K }>][] {
    return [...this.#decided].filter(
      (entry): entry is [number, Extract<Decided, { kind: K }>] => entry[1].kind === kind,
    );
  }

  /** Compares these rows a first time. */
  async look(ids: readonly number[]): Promise<void> {
    for (let from = 0; from < ids.length; from += BATCH) await this.#batch(ids.slice(from, from + BATCH));
  }

  /** Compares what is not decided again, once a second, until all is or nothing moves any more. */
  async settle(): Promise<void> {
    let decidedAt = performance.now();
    while (this.#open.size > 0) {
      const waited = performance.now() - decidedAt;
      if (waited > PATIENCE_MS || (waited > PATIENCE_ALONE_MS && !(await connectorRuns(this.#db)))) return;
      await pause(ROUND_MS, this.#signal);
      const before = this.#open.size;
      await this.look(this.undecided);
      if (this.#open.size < before) decidedAt = performance.now();
    }
  }

  /** After a repair: what was decided of these rows counts no more. */
  reopen(ids: readonly number[]): void {
    for (const id of ids) {
      this.#decided.delete(id);
      this.#open.set(id, null);
    }
  }

  async #batch(ids: readonly number[]): Promise<void> {
    const queue = await readSources(this.#db, this.#kind.table, ids);
    const fhirIds = await fhirIdsOf(
      this.#db,
      queue.flatMap((source) => this.#referredTo(source)),
    );
    const work = async () => {
      for (let source = queue.shift(); source !== undefined; source = queue.shift()) {
        this.#signal.throwIfAborted();
        this.#note(
          source,
          await judge(
            source,
            this.#kind,
            this.#profile,
            ({ table, sourceId }) => fhirIds.get(`${table}/${sourceId}`) ?? null,
            (id) => this.#read(id),
          ),
        );
      }
    };
    await Promise.all(Array.from({ length: this.#concurrency }, work));
  }

  #read(id: string): Promise<Reading> {
    return readResource(this.#fhir, this.#kind.type, id, this.#signal);
  }

  #referredTo({ payload }: RowState): Source[] {
    return referencesOf({ mapped: payload && this.#kind.map(payload, this.#profile, false) });
  }

  #note(source: RowState, verdict: Verdict): void {
    if (verdict.kind === 'on-its-way') this.#open.set(source.id, null);
    else if (verdict.kind === 'drift') {
      // The server was asked after the database: a change may have been delivered in between. It was not when the
      // database still says the same the next time, and the server still something else.
      const state = stateOf(source);
      if (this.#open.get(source.id) === state) this.#decide(source.id, verdict);
      else this.#open.set(source.id, state);
    } else this.#decide(source.id, verdict);
  }

  #decide(id: number, verdict: Final): void {
    this.#open.delete(id);
    if (verdict.kind === 'same') this.#same += 1;
    else this.#decided.set(id, verdict);
  }
}

function stateOf({ revision, fhirId, versionId, deleted }: RowState): string {
  return JSON.stringify([revision, fhirId, versionId, deleted]);
}
