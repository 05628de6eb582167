// What the triggers add to a change: three databases with the same patients, without triggers, with the plainest that copy a
// row and notify, and with this project's. No connector runs.
import type { Arena, BenchDatabase } from '../arena.ts';
import { insertPatients } from '../patients.ts';
import { median } from '../statistics.ts';

const CLIENTS = 4;

export interface TriggersOptions {
  readonly rounds: number;
  /** Of the single-row updates, in each round. */
  readonly seconds: number;
  /** In the table, and in the one statement. */
  readonly patients: number;
}

/** The medians of all rounds. */
interface TriggerCost {
  /** Updates of one row a second, each in a transaction of its own that waits for the disk, by 4 clients at once. */
  readonly rate: number;
  /** One statement that updates all patients. */
  readonly bulkSeconds: number;
}

const VARIANTS = ['none', 'copy', 'ours'] as const;

export type Triggers = Readonly<Record<(typeof VARIANTS)[number], TriggerCost>>;

/** The health tables keep their own trigger, which sets updated_at, in all three. */
const WITHOUT = `
  DROP TRIGGER fhir_patient_insert ON patient;
  DROP TRIGGER fhir_patient_update ON patient;
  DROP TRIGGER fhir_patient_delete ON patient;
  DROP TRIGGER fhir_patient_truncate ON patient`;

/** As small as can be: no index but the key, and notifications that are all the same, which a transaction sends once. */
const COPY = `
  CREATE TABLE row_copy (
    id bigserial PRIMARY KEY,
    operation text NOT NULL,
    record_id integer NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
  );
  CREATE FUNCTION copy_row() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF TG_OP = 'DELETE' THEN
      INSERT INTO row_copy (operation, record_id, payload) VALUES (TG_OP, OLD.id, to_jsonb(OLD));
    ELSE
      INSERT INTO row_copy (operation, record_id, payload) VALUES (TG_OP, NEW.id, to_jsonb(NEW));
    END IF;
    PERFORM pg_notify('row_copy', TG_TABLE_NAME);
    RETURN NULL;
  END $$;
  CREATE TRIGGER copy_row AFTER INSERT OR UPDATE OR DELETE ON patient FOR EACH ROW EXECUTE FUNCTION copy_row()`;

export async function triggers(arena: Arena, { rounds, seconds, patients }: TriggersOptions): Promise<Triggers> {
  const databases = { none: await arena.database(), copy: await arena.database(), ours: await arena.database() };
  try {
    await databases.none.pool.query(WITHOUT);
    await databases.copy.pool.query(`${WITHOUT}; ${COPY}`);
    const samples = { none: newSamples(), copy: newSamples(), ours: newSamples() };
    for (const variant of VARIANTS) {
      await insertPatients(databases[variant], patients);
      await updateAll(databases[variant], 0);
    }
    for (let round = 1; round <= rounds; round += 1) {
      // Each is first, second and third in turn.
      for (const variant of VARIANTS.map((_, at) => VARIANTS[(at + round) % VARIANTS.length] ?? 'none')) {
        const { rate } = await arena.updateLoad(databases[variant], CLIENTS, patients, seconds);
        samples[variant].rates.push(rate);
        samples[variant].bulkSeconds.push(await updateAll(databases[variant], round));
      }
    }
    return { none: middle(samples.none), copy: middle(samples.copy), ours: middle(samples.ours) };
  } finally {
    for (const variant of VARIANTS) await databases[variant].drop();
  }
}

interface Samples {
  readonly rates: number[];
  readonly bulkSeconds: number[];
}

const newSamples = (): Samples => ({ rates: [], bulkSeconds: [] });

function middle({ rates, bulkSeconds }: Samples): TriggerCost {
  return { rate: median(rates), bulkSeconds: median(bulkSeconds) };
}

/** Seconds. Afterwards the old row versions are removed, so that each round finds the tables as the first did. */
async function updateAll({ pool }: BenchDatabase, round: number): Promise<number> {
  const started = performance.now();
  await pool.query('UPDATE patient SET phone_number = $1', [`all ${round}`]);
  const elapsed = (performance.now() - started) / 1000;
  await pool.query('VACUUM (ANALYZE)');
  return elapsed;
}
