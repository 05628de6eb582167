// A row of patient with its other identifiers → a FHIR R4 Patient, https://hl7.org/fhir/R4/patient.html . Of all its columns:
// - Empty or blank text is absent; an element or a list that would be empty is left out.
// - Texts stay as they are, white space around them included. A character that no FHIR string may hold (control
//   characters other than tab and line breaks, halves of surrogate pairs) becomes U+FFFD, so that its place is seen.
// - A text that is longer than a FHIR string may be refuses the patient.

import { z } from 'zod';
import { isFhirDate, MAX_FHIR_STRING } from '../model/primitives.ts';
import type { Address, ContactPoint, HumanName, Identifier, Patient } from '../model/resource-types.ts';
import { readIdentifier, type Token, withoutRepeats } from '../model/token.ts';
import { faultIn, flag, rawText, text } from './columns.ts';
import type { MappedResource, Profile } from './mapped-resource.ts';
import type { RowMapping } from './row-mapping.ts';
import { asUsCorePatient } from './us-core.ts';

const NO_IDENTIFIERS = 'is no list of identifiers';
// No limit of its own: `readIdentifier` has one, and says of which identifier it is.
const part = z.string(NO_IDENTIFIERS).nullish();

const columns = z.object({
  active: flag.describe('As it is; empty is true. False after a delete that keeps the resource'),
  deceased: flag.describe(
    "Sent when true. False is the column's default, and not somebody's statement that the patient lives: then it is absent",
  ),
  birth_date: text.describe(
    'The characters as they are, never by way of a Date; white space around them is removed. What FHIR cannot hold (infinity, BC, 30 February) refuses the patient',
  ),
  gender: rawText.describe('`male`, `female`, `other` or their first letters, in any case; all else is `unknown`'),
  name_family: text.describe('As it is'),
  name_given: text.describe('Split at white space: each name can be searched, and none is lost'),
  name_text: text.describe(
    'As it is. Empty: made of given names and family, unless that would be longer than a FHIR string may be',
  ),
  identifier_system: rawText.describe(
    'White space around it is removed, as servers do when they search. White space or control characters in it refuse the patient. Empty: an identifier without system. What is no absolute URI is sent as it is; servers that validate refuse it',
  ),
  identifier_value: rawText.describe(
    'White space around it is removed, as servers do when they search. Control characters in it refuse the patient, and more than 2,000 bytes of it and its system. Empty: the patient is refused, and no other identifier takes its place',
  ),
  phone_number: text.describe('As it is'),
  email: text.describe('As it is'),
  address_line: text.describe('Split at line breaks; blank lines are left out'),
  address_city: text.describe('As it is'),
  address_state: text.describe('As it is'),
  address_postal_code: text.describe('As it is'),
  address_country: text.describe('As it is'),
  other_identifiers: z
    .array(z.object({ identifier_system: part, identifier_value: part }, NO_IDENTIFIERS), NO_IDENTIFIERS)
    .nullish()
    .describe(
      "Behind the primary identifier, in the order of their rows' ids, each once, and read as the primary one is. A row without value is none",
    ),
});

type Row = z.output<typeof columns>;

export const patient = {
  table: 'patient',
  type: 'Patient',
  columns,
  references: [],
  withdrawn: { active: false },
  map(payload, profile, withdraw) {
    const parsed = columns.safeParse(payload);
    if (!parsed.success) return { ok: false, reason: faultIn(parsed.error) };
    return mapRow(withdraw ? { ...parsed.data, active: false } : parsed.data, profile);
  },
} satisfies RowMapping;

function mapRow(row: Row, profile: Profile): MappedResource<Patient> {
  const found = identifiersOf(row);
  if (!found.ok) return found;
  const [identifier] = found.identifiers;
  if (identifier === undefined)
    return { ok: false, reason: 'The patient has no identifier: identifier_value is empty.' };
  const birthDate = row.birth_date?.trim();
  if (birthDate !== undefined && !isFhirDate(birthDate))
    return { ok: false, reason: 'birth_date is no date that FHIR can hold (YYYY, YYYY-MM or YYYY-MM-DD).' };
  const name = nameOf(row);
  const telecom = telecomOf(row);
  const address = addressOf(row);
  const resource: Patient = {
    resourceType: 'Patient',
    identifier: found.identifiers.map(identifierElement),
    active: row.active ?? true,
    ...(name && { name: [name] }),
    ...(telecom.length > 0 && { telecom }),
    gender: genderOf(row.gender),
    ...(birthDate !== undefined && { birthDate }),
    ...(row.deceased === true && { deceasedBoolean: true }),
    ...(address && { address: [address] }),
  };
  return {
    ok: true,
    resource: profile === 'us-core' ? asUsCorePatient(resource) : resource,
    identifier,
    identifiers: found.identifiers,
    references: [],
  };
}

/** The primary identifier first, then the others in their order, each once. */
function identifiersOf(row: Row): { ok: true; identifiers: Token[] } | { ok: false; reason: string } {
  const identifiers: Token[] = [];
  const primary = readIdentifier(row.identifier_system, row.identifier_value);
  if (primary.kind === 'invalid') {
    return { ok: false, reason: `The identifier of the patient cannot be sent: ${primary.reason}.` };
  }
  // Without a primary identifier none of the others takes its place: they may come and go, and so would the resource.
  if (primary.kind === 'absent') return { ok: true, identifiers };
  identifiers.push(primary.token);
  for (const each of row.other_identifiers ?? []) {
    const other = readIdentifier(each.identifier_system, each.identifier_value);
    if (other.kind === 'invalid') {
      return { ok: false, reason: `An other identifier of the patient cannot be sent: ${other.reason}.` };
    }
    if (other.kind === 'token') identifiers.push(other.token);
  }
  return { ok: true, identifiers: withoutRepeats(identifiers) };
}

function identifierElement({ system, value }: Token): Identifier {
  return { ...(system !== '' && { system }), value };
}

function nameOf(row: Row): HumanName | undefined {
  const family = row.name_family;
  const givenText = row.name_given;
  const given = givenText?.split(/\s+/u).filter((part) => part !== '') ?? [];
  const made = [...given, ...(family === undefined ? [] : [family])].join(' ');
  const whole = row.name_text ?? made;
  if (whole === '') return undefined;
  return {
    ...(whole.length <= MAX_FHIR_STRING && { text: whole }),
    ...(family !== undefined && { family }),
    ...(given.length > 0 && { given }),
  };
}

function telecomOf(row: Row): ContactPoint[] {
  const phone = row.phone_number;
  const email = row.email;
  return [
    ...(phone === undefined ? [] : [{ system: 'phone' as const, value: phone }]),
    ...(email === undefined ? [] : [{ system: 'email' as const, value: email }]),
  ];
}

function addressOf(row: Row): Address | undefined {
  const line = row.address_line?.split(/\r\n|\r|\n/).filter((part) => part.trim() !== '') ?? [];
  const city = row.address_city;
  const state = row.address_state;
  const postalCode = row.address_postal_code;
  const country = row.address_country;
  const address: Address = {
    ...(line.length > 0 && { line }),
    ...(city !== undefined && { city }),
    ...(state !== undefined && { state }),
    ...(postalCode !== undefined && { postalCode }),
    ...(country !== undefined && { country }),
  };
  return Object.keys(address).length > 0 ? address : undefined;
}

/** https://hl7.org/fhir/R4/valueset-administrative-gender.html */
function genderOf(gender: string | null | undefined): 'male' | 'female' | 'other' | 'unknown' {
  switch (gender?.trim().toLowerCase()) {
    case 'male':
    case 'm':
      return 'male';
    case 'female':
    case 'f':
      return 'female';
    case 'other':
    case 'o':
      return 'other';
    default:
      return 'unknown';
  }
}
