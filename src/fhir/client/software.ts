// The name of the FHIR server's software, as far as it is a known one: a server may put anything into its CapabilityStatement, and
// the name goes into the log.

const KNOWN = [
  'HAPI FHIR Server',
  'Smile CDR',
  'Medplum',
  'Aidbox',
  'Firely Server',
  'Vonk',
  'Microsoft FHIR Server',
  'Azure API for FHIR',
  'Azure Healthcare APIs',
  'Azure Health Data Services',
  'Google Cloud Healthcare API',
  'Cloud Healthcare API',
  'AWS HealthLake',
  'Amazon HealthLake',
  'LinuxForHealth FHIR Server',
  'IBM FHIR Server',
  'Blaze',
  'Spark',
  'InterSystems IRIS for Health',
  'Kodjin',
];
/** The beginning of it, as 8.8.0 of 8.8.0-SNAPSHOT. */
const VERSION = /^\d{1,3}(?:\.\d{1,3}){1,3}/;

/** As "HAPI FHIR Server 8.8.0"; null for what is not known. */
export function knownSoftware(name: string, version = ''): string | null {
  const known = KNOWN.find((one) => name.toLowerCase().startsWith(one.toLowerCase()));
  return known === undefined ? null : `${known} ${VERSION.exec(version)?.[0] ?? ''}`.trim();
}
