// What a FHIR string may hold, https://hl7.org/fhir/R4/datatypes.html#string .

/** The most characters (UTF-16 code units) of a FHIR string: 1 MB. */
export const MAX_FHIR_STRING = 1024 * 1024;

// Control characters below U+0020 except tab and line breaks. (Those from U+007F on are allowed.)
const FORBIDDEN = /[^\P{Cc}\t\n\r\u007f-\u009f]/gu;

/** Whether FHIR can hold these characters as they are. */
export function isFhirString(text: string): boolean {
  return text.isWellFormed() && text.search(FORBIDDEN) === -1;
}

/** The text with U+FFFD for each character that FHIR forbids, so that its place is seen. */
export function toFhirString(text: string): string {
  return text.toWellFormed().replace(FORBIDDEN, '\ufffd');
}
