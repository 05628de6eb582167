// Mutants of who may send, and in which order: the bugs that let an older state overwrite a newer one.
import type { Mutant } from './mutant.ts';

const MANY = 'sql/migrations/011_sets_of_patients.sql';
const ALONE = 'sql/migrations/010_single_changes.sql';
const WRITE_SKEW = 'test/sql/write-skew.pg.test.ts';
const COURIER = 'src/outbox/courier/courier.ts';
const WORKS = 'test/outbox/engine.pg.test.ts';

/**
 * The write that all changes of one patient meet at: of a statement that changes many identifiers, of one that changes many
 * patients, and of one that changes this patient alone. `many`, `alone`: what is done instead. Revisions come from elsewhere,
 * so that only the meeting is missing.
 */
const withoutRevisionWrite = (many: string, alone: string) => [
  {
    file: MANY,
    find: 'ON CONFLICT (patient_id) DO UPDATE SET revision = known.revision + excluded.revision;',
    replace: `ON CONFLICT DO NOTHING;${many}`,
  },
  {
    file: MANY,
    find: 'r.revision - c.of_patient + c.nth_of_patient,',
    replace: `nextval('public.fhir_outbox_id_seq'),`,
  },
  {
    file: MANY,
    find: 'ON CONFLICT (patient_id) DO UPDATE SET revision = known.revision + 1;',
    replace: `ON CONFLICT DO NOTHING;${many}`,
  },
  { file: MANY, find: '    r.revision,\n', replace: `    nextval('public.fhir_outbox_id_seq'),\n` },
  {
    file: ALONE,
    find: `ON CONFLICT (patient_id) DO UPDATE SET revision = known.revision + 1
  RETURNING revision INTO new_revision;`,
    replace: `ON CONFLICT DO NOTHING;${alone}\n  new_revision := nextval('public.fhir_outbox_id_seq');`,
  },
];

export const ORDERING: readonly Mutant[] = [
  {
    name: 'no-write-in-the-trigger',
    harm: 'Two transactions change one patient, one its row and one its identifiers: each writes an event without the other half, and the last one stands.',
    edits: withoutRevisionWrite('', ''),
    test: {
      file: WRITE_SKEW,
      title:
        'a change of the patient waits for the other half of a transaction that is not committed yet, and then holds both',
    },
  },
  {
    name: 'lock-instead-of-write',
    harm: 'Under REPEATABLE READ a lock lets the older snapshot through: a stale patient is sent, and nobody is told.',
    edits: withoutRevisionWrite(
      '\n  PERFORM FROM public.patient WHERE id IN (SELECT c.patient_id FROM unnest(changes) AS c) ORDER BY id FOR NO KEY UPDATE;',
      '\n  PERFORM FROM public.patient WHERE id = changed_id FOR NO KEY UPDATE;',
    ),
    test: {
      file: WRITE_SKEW,
      title:
        'under REPEATABLE READ, a change of the patient is refused (40001) when the identifiers changed since its snapshot',
    },
  },
  {
    name: 'nobody-waits-in-a-lane',
    harm: 'Two states of one patient are on their way at once, and the older one may arrive last.',
    edits: [{ file: 'src/outbox/lanes/lanes.ts', find: 'place.behind += 1;', replace: '' }],
    test: {
      file: 'test/scenarios/concurrency.test.ts',
      title:
        'many writers > are delivered per patient in commit order, never two of one patient at once, patients side by side',
    },
  },
  {
    name: 'look-up-only-on-arrival',
    harm: 'What was pending when it took its place is sent at its turn, though another connector has delivered a newer state meanwhile.',
    edits: [
      {
        file: 'src/outbox/lanes/scheduler.ts',
        find: 'await place.ready;',
        replace: 'await courier.lookUpOnArrival(delivery);\n    await place.ready;',
      },
      {
        file: COURIER,
        find: '  /** Resolves once the delivery is finished AND recorded',
        replace: `  readonly #onArrival = new WeakMap<Delivery, Standing>();

  async lookUpOnArrival(delivery: Delivery): Promise<void> {
    this.#onArrival.set(delivery, await this.#parts.standing(delivery));
  }

  /** Resolves once the delivery is finished AND recorded`,
      },
      {
        file: COURIER,
        find: "const standing = isNew ? 'pending' : await this.#parts.standing(delivery);",
        replace:
          "const standing = isNew ? 'pending' : (this.#onArrival.get(delivery) ?? (await this.#parts.standing(delivery)));",
      },
    ],
    test: {
      file: WORKS,
      title:
        'a delivery that was looked up, or found new, when the slot was held before > is looked up again when the slot went away and came back before it is sent',
    },
  },
  {
    name: 'lease-ignored',
    harm: 'A connector that lost its slot, frozen for a while perhaps, overwrites what its successor wrote.',
    edits: [
      {
        file: 'src/outbox/courier/slot-guard.ts',
        find: 'if (!lease.valid) throw new SlotChangedHands();',
        replace: 'void lease;',
      },
    ],
    test: {
      file: WORKS,
      title:
        'a delivery that was looked up, or found new, when the slot was held before > is not sent a second time, after a conflict, without the slot',
    },
  },
  {
    name: 'turn-not-locked',
    harm: 'A successor takes the slot and sends while a request of the one that lost it is still on its way.',
    edits: [
      {
        file: 'src/replication/slot/turn.ts',
        find: 'CASE WHEN s.active THEN false ELSE pg_try_advisory_lock($2, hashtext($1)) END AS locked',
        replace: 'NOT s.active AND $2::int IS NOT NULL AS locked',
      },
    ],
    test: {
      file: 'test/replication/turn.pg.test.ts',
      title: 'nobody takes the slot again while a request of the one that lost the slot is on its way',
    },
  },
  {
    name: 'outage-burns-attempts',
    harm: 'An outage of the FHIR server fills the dead letters with patients that nothing is wrong with.',
    edits: [
      {
        file: 'src/fhir/faults/fault-table.ts',
        find: "match: { status: ['503'] }, ...CLOSED,",
        replace: "match: { status: ['503'] }, ...CLOSED, attempt: 'counts',",
      },
    ],
    test: {
      file: 'test/scenarios/dlq.test.ts',
      title:
        'an outage of the FHIR server > that answers 503 dead-letters nobody, however many tries it takes, and is over by itself',
    },
  },
  {
    name: 'children-by-their-numbers',
    harm: 'A reading is sent before its patient or its form: the server refuses it, or it waits as a dead letter for what came with it.',
    edits: [
      {
        file: 'src/outbox/delivery/delivery.ts',
        find: 'rankOf(a) - rankOf(b) || a.revision',
        replace: 'a.revision',
      },
    ],
    test: {
      file: 'test/scenarios/records.test.ts',
      title:
        'a patient with a form and readings > in one transaction, written in any order, is sent in the order in which the resources refer to each other',
    },
  },
  {
    name: 'no-lane-of-its-own',
    harm: 'A form that goes to another patient is sent in the order of two patients: the older state may come last.',
    edits: [
      {
        file: 'src/outbox/lanes/scheduler.ts',
        find: '...[delivery, ...referencesOf(delivery)].map(rowLane)',
        replace: '...referencesOf(delivery).map(rowLane)',
      },
    ],
    test: {
      file: 'test/scenarios/records.test.ts',
      title: 'a form that goes to another patient > while the first one’s change is on its way, waits for that one',
    },
  },
];
