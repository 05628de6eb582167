// payload_json of the patient tables: the columns that are mapped, each with its rule; docs/mapping.md lists them.

import { z } from 'zod';

// Only strings: a number would already have lost digits in JSON.parse, and a wrong identifier is worse than none.
const text = z.string().nullish();

/** Columns that it does not name are ignored, for the application may add some. */
export const patientPayload = z.object({
  active: z.boolean().nullish().describe('As it is; empty is true. False after a delete that keeps the resource'),
  deceased: z
    .boolean()
    .nullish()
    .describe(
      "Sent when true. False is the column's default, and not somebody's statement that the patient lives: then it is absent",
    ),
  birth_date: text.describe(
    'The characters as they are, never by way of a Date; white space around them is removed. What FHIR cannot hold (infinity, BC, 30 February) refuses the patient',
  ),
  gender: text.describe('`male`, `female`, `other` or their first letters, in any case; all else is `unknown`'),
  name_family: text.describe('As it is'),
  name_given: text.describe('Split at white space: each name can be searched, and none is lost'),
  name_text: text.describe(
    'As it is. Empty: made of given names and family, unless that would be longer than a FHIR string may be',
  ),
  identifier_system: text.describe(
    'White space around it is removed, as servers do when they search. White space or control characters in it refuse the patient. Empty: an identifier without system. What is no absolute URI is sent as it is; servers that validate refuse it',
  ),
  identifier_value: text.describe(
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
    .array(z.object({ identifier_system: text, identifier_value: text }))
    .nullish()
    .describe(
      "Behind the primary identifier, in the order of their rows' ids, each once, and read as the primary one is. A row without value is none",
    ),
});

export type PatientPayload = z.infer<typeof patientPayload>;
