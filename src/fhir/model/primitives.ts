// What FHIR's date, dateTime and string may be, https://hl7.org/fhir/R4/datatypes.html#primitive .

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

/**
 * YYYY, YYYY-MM or YYYY-MM-DD, with a month that the year has and a day that the month has.
 * No Date: it would move the day by the time zone. https://hl7.org/fhir/R4/datatypes.html#date
 */
export function isFhirDate(date: string): boolean {
  const parts = /^(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?$/.exec(date);
  if (!parts || parts[1] === '0000') return false;
  const year = Number(parts[1]);
  const month = Number(parts[2] ?? '1');
  const day = Number(parts[3] ?? '1');
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1];
  return days !== undefined && day >= 1 && day <= days;
}

/**
 * A moment: YYYY-MM-DDThh:mm:ss with fractions or without, and with a time zone, which FHIR demands of whatever has a time.
 * No Date: it would lose the zone. https://hl7.org/fhir/R4/datatypes.html#dateTime
 */
export function isFhirDateTime(text: string): boolean {
  const parts = /^(\d{4}-\d{2}-\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.\d+)?(?:Z|[+-](\d{2}):(\d{2}))$/.exec(text);
  if (!parts) return false;
  const [, date = '', hour, minute, second, zoneHour = 0, zoneMinute = 0] = parts;
  return (
    isFhirDate(date) &&
    Number(hour) < 24 &&
    Number(minute) < 60 &&
    // A leap second is one.
    Number(second) <= 60 &&
    Number(zoneHour) * 60 + Number(zoneMinute) <= 14 * 60 &&
    Number(zoneMinute) < 60
  );
}
