// Patients, forms and readings whose every column holds a mark.
import type pg from 'pg';
import type { Marks } from './marks.ts';

export interface Patient {
  readonly id: number;
  readonly system: string;
  /** Its primary identifier. */
  readonly identifier: string;
}

type Columns = Readonly<Record<string, unknown>>;

export class Patients {
  readonly #db: pg.Pool;
  readonly #marks: Marks;

  constructor(db: pg.Pool, marks: Marks) {
    this.#db = db;
    this.#marks = marks;
  }

  /** With other identifiers, unless there are to be none. `columns`: instead of marks. */
  async add(columns: Columns = {}, others = 1): Promise<Patient> {
    const row = { ...this.#row(), ...columns };
    const { rows } = await this.#db.query<{ id: number }>(...insert('patient', row));
    const id = rows[0]?.id ?? 0;
    for (let nth = 0; nth < others; nth += 1)
      await this.#db.query(
        ...insert('patient_other_identifiers', {
          patient_id: id,
          identifier_system: `urn:${this.#marks.word('othersystem')}`,
          identifier_value: this.identifier(),
        }),
      );
    return { id, system: String(row.identifier_system), identifier: String(row.identifier_value) };
  }

  async update(id: number, columns: Columns = { name_family: this.#marks.text('family') }): Promise<void> {
    const names = Object.keys(columns).map((name, at) => `${name} = $${at + 2}`);
    await this.#db.query(`UPDATE patient SET ${names.join(', ')} WHERE id = $1`, [id, ...Object.values(columns)]);
  }

  async delete(id: number): Promise<void> {
    await this.#db.query(
      `WITH b AS (DELETE FROM blood_pressure WHERE patient_id = ${id}), p AS (DELETE FROM pulse WHERE patient_id = ${id}) SELECT`,
    );
    await this.#db.query(`DELETE FROM form WHERE patient_id = ${id}`);
    await this.#db.query(`DELETE FROM patient_other_identifiers WHERE patient_id = ${id}`);
    await this.#db.query(`DELETE FROM patient WHERE id = ${id}`);
  }

  /** A form, a blood pressure and a pulse; of a later change of them, too. */
  async examine(patientId: number): Promise<void> {
    const text = (column: string) => this.#marks.text(column);
    const moment = () => `${this.#marks.birthDate()} 10:30:00+00`;
    const form = { patient_id: patientId, name: text('form'), encounter_date: moment() };
    const { rows } = await this.#db.query<{ id: number }>(...insert('form', form));
    const about = { patient_id: patientId, form_id: rows[0]?.id, comment: text('comment') };
    await this.#db.query(
      ...insert('blood_pressure', {
        ...about,
        systolic_pressure: this.#marks.reading(),
        diastolic_pressure: this.#marks.reading(),
        measurement_time: moment(),
        position: text('position'),
        location: text('location'),
      }),
    );
    await this.#db.query(
      ...insert('pulse', {
        ...about,
        rate: this.#marks.reading(),
        measurement_time: moment(),
        regularity: text('regularity'),
        method: text('method'),
        body_site: text('site'),
      }),
    );
    await this.#db.query('UPDATE pulse SET rate = $1 WHERE patient_id = $2', [this.#marks.reading(), patientId]);
  }

  /** In a URL it needs escapes; none of a FHIR search's. */
  identifier(): string {
    return `${this.#marks.word('mrn')} "ö<'&`;
  }

  #row(): Columns {
    const text = (column: string) => this.#marks.text(column);
    const system = `urn:${this.#marks.word('system')}`;
    return {
      identifier_system: system,
      identifier_value: this.#marks.hashed(this.identifier(), system),
      birth_date: this.#marks.birthDate(),
      name_family: text('family'),
      name_given: `${text('given')} ${text('middle')}`,
      name_text: text('name'),
      phone_number: this.#marks.phone(),
      email: `${this.#marks.word('email')}@${this.#marks.word('domain')}.example`,
      address_line: `${text('street')}\n${text('floor')}`,
      address_city: text('city'),
      address_state: text('state'),
      address_postal_code: text('code'),
      address_country: text('country'),
      gender: text('gender'),
    };
  }
}

function insert(table: string, row: Columns): [string, unknown[]] {
  const names = Object.keys(row);
  const places = names.map((_, at) => `$${at + 1}`).join(', ');
  return [`INSERT INTO ${table} (${names.join(', ')}) VALUES (${places}) RETURNING id`, Object.values(row)];
}
