// A patient row with its other identifiers → a FHIR R4 Patient: pure, and the same bytes for the same row.
//
// Rules, https://hl7.org/fhir/R4/patient.html :
// - Empty or blank text is absent; an element or a list that would be empty is left out.
// - Texts stay as they are, white space around them included. A character that no FHIR string may hold (control
//   characters other than tab and line breaks, halves of surrogate pairs) becomes U+FFFD, so that its place is seen.
// - name_given is split at white space ("Mary Ann" → "Mary", "Ann"): nothing is lost, and each name can be searched.
//   name_text wins over the text made of given and family.
// - address_line is split at line breaks, one address.line each.
// - birth_date never passes through a Date, which would move it by the time zone. A date that FHIR cannot hold
//   (infinity, BC, 30 February) is refused with a reason.
// - gender: male, female, other and their first letters in any case; all else is unknown.
// - deceasedBoolean is sent when true. False is the column's default, not somebody's statement that the patient lives.
// - identifiers: see token.ts. One that is invalid refuses the patient; an identifier row without value is none.

import { z } from 'zod';
import { toFhirString } from './fhir-string.ts';
import type { Address, ContactPoint, HumanName, Identifier, Patient } from './resources.ts';
import type { Token } from './token.ts';
import { readIdentifier, sameToken } from './token.ts';

// Only strings: a number would already have lost digits in JSON.parse, and a wrong identifier is worse than none.
const text = z.string().nullish();

/** payload_json of the patient tables: unknown fields are ignored, for the application may add columns. */
export const patientPayload = z.object({
  active: z.boolean().nullish(),
  deceased: z.boolean().nullish(),
  birth_date: text,
  gender: text,
  name_family: text,
  name_given: text,
  name_text: text,
  identifier_system: text,
  identifier_value: text,
  phone_number: text,
  email: text,
  address_line: text,
  address_city: text,
  address_state: text,
  address_postal_code: text,
  address_country: text,
  other_identifiers: z.array(z.object({ identifier_system: text, identifier_value: text })).nullish(),
});

export type PatientPayload = z.infer<typeof patientPayload>;

/** The resource with the identifier that addresses it and all that it has, primary first; or why there is none. */
export type MappedResource =
  | { ok: true; resource: Patient; identifier: Token; identifiers: Token[] }
  | { ok: false; reason: string };

/**
 * Maps one patient. `active` overrides the row's (a deleted row becomes active=false). A reason names the column at
 * fault and never its content.
 */
export function mapPatient(payload: PatientPayload, options: { active?: boolean } = {}): MappedResource {
  const found = identifiersOf(payload);
  if (!found.ok) return found;
  const [identifier] = found.identifiers;
  if (identifier === undefined) {
    return { ok: false, reason: 'The patient has no identifier: identifier_value is empty.' };
  }
  const birthDate = textOf(payload.birth_date)?.trim();
  if (birthDate !== undefined && !isFhirDate(birthDate)) {
    return { ok: false, reason: 'birth_date is no date that FHIR can hold (YYYY, YYYY-MM or YYYY-MM-DD).' };
  }
  const name = nameOf(payload);
  const telecom = telecomOf(payload);
  const address = addressOf(payload);
  const resource: Patient = {
    resourceType: 'Patient',
    identifier: found.identifiers.map(identifierElement),
    active: options.active ?? payload.active ?? true,
    ...(name && { name: [name] }),
    ...(telecom.length > 0 && { telecom }),
    gender: genderOf(payload.gender),
    ...(birthDate !== undefined && { birthDate }),
    ...(payload.deceased === true && { deceasedBoolean: true }),
    ...(address && { address: [address] }),
  };
  return { ok: true, resource, identifier, identifiers: found.identifiers };
}

/** The primary identifier first, then the others in their order, each once. */
function identifiersOf(payload: PatientPayload): { ok: true; identifiers: Token[] } | { ok: false; reason: string } {
  const identifiers: Token[] = [];
  const primary = readIdentifier(payload.identifier_system, payload.identifier_value);
  if (primary.kind === 'invalid') {
    return { ok: false, reason: `The identifier of the patient cannot be sent: ${primary.reason}.` };
  }
  // Without a primary identifier none of the others takes its place: they may come and go, and so would the resource.
  if (primary.kind === 'absent') return { ok: true, identifiers };
  identifiers.push(primary.token);
  for (const row of payload.other_identifiers ?? []) {
    const other = readIdentifier(row.identifier_system, row.identifier_value);
    if (other.kind === 'invalid') {
      return { ok: false, reason: `An other identifier of the patient cannot be sent: ${other.reason}.` };
    }
    if (other.kind === 'token' && !identifiers.some((known) => sameToken(known, other.token))) {
      identifiers.push(other.token);
    }
  }
  return { ok: true, identifiers };
}

function identifierElement({ system, value }: Token): Identifier {
  return { ...(system !== '' && { system }), value };
}

function nameOf(payload: PatientPayload): HumanName | undefined {
  const family = textOf(payload.name_family);
  const givenText = textOf(payload.name_given);
  const given = givenText?.split(/\s+/u).filter((part) => part !== '') ?? [];
  const made = [...given, ...(family === undefined ? [] : [family])].join(' ');
  const whole = textOf(payload.name_text) ?? made;
  if (whole === '') return undefined;
  return { text: whole, ...(family !== undefined && { family }), ...(given.length > 0 && { given }) };
}

function telecomOf(payload: PatientPayload): ContactPoint[] {
  const phone = textOf(payload.phone_number);
  const email = textOf(payload.email);
  return [
    ...(phone === undefined ? [] : [{ system: 'phone' as const, value: phone }]),
    ...(email === undefined ? [] : [{ system: 'email' as const, value: email }]),
  ];
}

function addressOf(payload: PatientPayload): Address | undefined {
  const line =
    textOf(payload.address_line)
      ?.split(/\r\n|\r|\n/)
      .filter((part) => part.trim() !== '') ?? [];
  const city = textOf(payload.address_city);
  const state = textOf(payload.address_state);
  const postalCode = textOf(payload.address_postal_code);
  const country = textOf(payload.address_country);
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

/** A text that FHIR can hold, or undefined when there is nothing to say. */
function textOf(value: string | null | undefined): string | undefined {
  return value === null || value === undefined || value.trim() === '' ? undefined : toFhirString(value);
}

/** https://hl7.org/fhir/R4/datatypes.html#date , with the days that the month has. */
function isFhirDate(date: string): boolean {
  const parts = /^(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?$/.exec(date);
  if (!parts || parts[1] === '0000') return false;
  const year = Number(parts[1]);
  const month = Number(parts[2] ?? '1');
  const day = Number(parts[3] ?? '1');
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1];
  return days !== undefined && day >= 1 && day <= days;
}
