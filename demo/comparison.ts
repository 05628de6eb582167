// The patients in PostgreSQL beside those on the FHIR server, both read afresh and without the connector's own mapping.

import type { Bundle, HumanName, Patient } from '@medplum/fhirtypes';
import type pg from 'pg';

/** What is compared of a patient, as text on both sides. */
const FIELDS = [
  'identifiers',
  'name',
  'family',
  'given',
  'born',
  'gender',
  'deceased',
  'phone',
  'email',
  'address',
] as const;

type Fields = Record<(typeof FIELDS)[number], string>;

interface FhirPatient extends Fields {
  readonly reference: string;
  readonly version: string;
  readonly active: boolean;
}

interface SqlPatient extends Fields {
  readonly id: number;
  readonly active: boolean;
}

export interface Comparison {
  readonly patients: readonly FhirPatient[];
  /** How many rows the table patient has. */
  readonly rows: number;
  /** A sentence for each difference; none when both say the same. */
  readonly differences: readonly string[];
}

export async function comparePatients(client: pg.ClientBase, fhirUrl: string): Promise<Comparison> {
  const [{ rows }, patients] = await Promise.all([client.query<SqlPatient>(SQL), readPatients(fhirUrl)]);
  const differences = rows.flatMap((row) => differencesOf(row, patients));
  const known = new Set(rows.map(({ identifiers }) => identifiers));
  const unknown = patients.filter(({ identifiers, active }) => active && !known.has(identifiers));
  const left = unknown.map(
    ({ reference }) => `${reference} is active on the FHIR server and has no row in PostgreSQL.`,
  );
  return { patients, rows: rows.length, differences: [...differences, ...left] };
}

function differencesOf(row: SqlPatient, patients: readonly FhirPatient[]): string[] {
  const [found, second] = patients.filter(({ identifiers }) => identifiers === row.identifiers);
  if (!found) return [`The patient with id ${row.id} is not on the FHIR server with its identifiers.`];
  if (second)
    return [`The patient with id ${row.id} is on the FHIR server twice: ${found.reference}, ${second.reference}.`];
  return [...FIELDS, 'active' as const]
    .filter((field) => found[field] !== row[field])
    .map(
      (field) =>
        `${found.reference}: ${field} is "${row[field]}" in PostgreSQL and "${found[field]}" on the FHIR server.`,
    );
}

const SQL = `
  SELECT p.id, p.active,
         concat_ws(', ', p.identifier_system || '|' || p.identifier_value, (
           SELECT string_agg(o.identifier_system || '|' || o.identifier_value, ', ' ORDER BY o.id)
             FROM patient_other_identifiers AS o
            WHERE o.patient_id = p.id
              AND (o.identifier_system, o.identifier_value) IS DISTINCT FROM (p.identifier_system, p.identifier_value)
         )) AS identifiers,
         coalesce(p.name_text, concat_ws(' ', p.name_given, p.name_family)) AS name,
         coalesce(p.name_family, '') AS family, coalesce(p.name_given, '') AS given,
         coalesce(p.birth_date::text, '') AS born, coalesce(p.gender, 'unknown') AS gender,
         CASE WHEN p.deceased THEN 'yes' ELSE '' END AS deceased,
         coalesce(p.phone_number, '') AS phone, coalesce(p.email, '') AS email,
         concat_ws(', ', p.address_line, p.address_city, p.address_state, p.address_postal_code, p.address_country) AS address
    FROM patient AS p ORDER BY p.id`;

async function readPatients(fhirUrl: string): Promise<FhirPatient[]> {
  const response = await fetch(`${fhirUrl}/Patient?_count=100000`);
  if (!response.ok) throw new Error(`The FHIR server answered ${response.status} to a search of its patients.`);
  const bundle = (await response.json()) as Bundle<Patient>;
  return (bundle.entry ?? []).flatMap(({ resource }) => (resource ? [readPatient(resource)] : []));
}

function readPatient({ id, meta, active, identifier, name, ...rest }: Patient): FhirPatient {
  const [{ text = '', family = '', given = [] } = {} as HumanName] = name ?? [];
  const telecom = (system: string) => rest.telecom?.find((point) => point.system === system)?.value ?? '';
  const [address] = rest.address ?? [];
  const parts = [...(address?.line ?? []), address?.city, address?.state, address?.postalCode, address?.country];
  return {
    reference: `Patient/${id}`,
    version: meta?.versionId ?? '',
    active: active ?? false,
    identifiers: identifier?.map(({ system, value }) => `${system}|${value}`).join(', ') ?? '',
    name: text,
    family,
    given: given.join(' '),
    born: rest.birthDate ?? '',
    gender: rest.gender ?? '',
    deceased: rest.deceasedBoolean === true ? 'yes' : '',
    phone: telecom('phone'),
    email: telecom('email'),
    address: parts.filter((part) => part !== undefined).join(', '),
  };
}
