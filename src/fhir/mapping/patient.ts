// A patient row with its other identifiers → a FHIR R4 Patient: pure, and the same bytes for the same row. The rule of each
// column stands in patient-payload.ts. For all of them:
// - Empty or blank text is absent; an element or a list that would be empty is left out.
// - Texts stay as they are, white space around them included. A character that no FHIR string may hold (control
//   characters other than tab and line breaks, halves of surrogate pairs) becomes U+FFFD, so that its place is seen.
// - A text that is longer than a FHIR string may be refuses the patient.

import { isFhirDate, MAX_FHIR_STRING, toFhirString } from '../model/primitives.ts';
import type { Address, ContactPoint, HumanName, Identifier, Patient } from '../model/resource-types.ts';
import type { Token } from '../model/token.ts';
import { readIdentifier, withoutRepeats } from '../model/token.ts';
import type { MappedResource, Profile } from './mapped-resource.ts';
import type { PatientPayload } from './patient-payload.ts';
import { asUsCorePatient } from './us-core.ts';

/**
 * Maps one patient. `active` overrides the row's (a deleted row becomes active=false). A reason names the column at
 * fault and never its content.
 */
export function mapPatient(
  payload: PatientPayload,
  profile: Profile,
  options: { active?: boolean } = {},
): MappedResource<Patient> {
  const tooLong = columnTooLong(payload);
  if (tooLong !== undefined) {
    return { ok: false, reason: `${tooLong} is longer than the 1,048,576 characters that a FHIR string may have.` };
  }
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
  const patient: Patient = {
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
  const resource = profile === 'us-core' ? asUsCorePatient(patient) : patient;
  return { ok: true, resource, identifier, identifiers: found.identifiers, references: [] };
}

function columnTooLong(payload: PatientPayload): string | undefined {
  const isTooLong = (value: unknown) => typeof value === 'string' && value.length > MAX_FHIR_STRING;
  return Object.entries(payload).find(([, value]) => isTooLong(value))?.[0];
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
    if (other.kind === 'token') identifiers.push(other.token);
  }
  return { ok: true, identifiers: withoutRepeats(identifiers) };
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
  return {
    ...(whole.length <= MAX_FHIR_STRING && { text: whole }),
    ...(family !== undefined && { family }),
    ...(given.length > 0 && { given }),
  };
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
