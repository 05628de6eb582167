// The kinds of columns that a row may have, as to_jsonb() writes them: what is checked of each, and what a mapping is given.
import { z } from 'zod';
import { isFhirDateTime, MAX_FHIR_STRING, toFhirString } from '../model/primitives.ts';

/** A text as it is, for who reads it in a way of its own. */
export const rawText = z
  .string('is no text')
  // No max(): zod would ask what is no text for its length all the same, and jsonb holds objects with any "length".
  .refine(
    (value) => value.length <= MAX_FHIR_STRING,
    'is longer than the 1,048,576 characters that a FHIR string may have',
  )
  .nullish();

/** Texts that FHIR can hold; undefined when there is nothing to say. */
export const text = rawText.transform((value) =>
  value == null || value.trim() === '' ? undefined : toFhirString(value),
);

/** boolean. */
export const flag = z.boolean('is neither true nor false').nullish();

/** integer, numeric, real …: PostgreSQL writes NaN and Infinity as texts, which FHIR has no numbers for. */
export const number = z
  .number('is no number that FHIR can hold')
  .nullish()
  .transform((value) => value ?? undefined);

/** timestamp with time zone: the moment with the offset that the session which changed the row had. */
export const moment = z
  .string('is no moment')
  .refine(isFhirDateTime, 'is no moment that FHIR can hold (years 1 to 9999, with a time zone)')
  .nullish()
  .transform((value) => value ?? undefined);

/** What is wrong with the first column that is wrong, by its name and never its content: a sentence. */
export function faultIn({ issues }: z.ZodError): string {
  const [issue] = issues;
  return `${String(issue?.path[0])} ${issue?.message}.`;
}
