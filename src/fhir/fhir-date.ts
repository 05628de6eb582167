// What a FHIR date may be, https://hl7.org/fhir/R4/datatypes.html#date . No Date: it would move the day by the time zone.

/** YYYY, YYYY-MM or YYYY-MM-DD, with a month that the year has and a day that the month has. */
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
