// What a FHIR dateTime of a moment may be, https://hl7.org/fhir/R4/datatypes.html#dateTime . No Date: it would lose the zone.
import { isFhirDate } from './fhir-date.ts';

/** YYYY-MM-DDThh:mm:ss with fractions or without, and with a time zone, which FHIR demands of whatever has a time. */
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
