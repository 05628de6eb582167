// Every code that is sent beside those of FHIR itself, with where it is defined; and how a column's words become codes.
import type { CodeableConcept, Coding } from '../model/resource-types.ts';

/** https://terminology.hl7.org/CodeSystem-v3-loinc.html ; a code's page is https://loinc.org/<code> */
const LOINC = 'http://loinc.org';
/** https://terminology.hl7.org/CodeSystem-v3-snomedct.html */
const SNOMED_CT = 'http://snomed.info/sct';
/** https://hl7.org/fhir/R4/valueset-observation-category.html */
const OBSERVATION_CATEGORY = 'http://terminology.hl7.org/CodeSystem/observation-category';
/** https://hl7.org/fhir/R4/valueset-data-absent-reason.html */
const DATA_ABSENT_REASON = 'http://terminology.hl7.org/CodeSystem/data-absent-reason';
/** https://hl7.org/fhir/R4/v3/ActEncounterCode/vs.html */
const ACT_CODE = 'http://terminology.hl7.org/CodeSystem/v3-ActCode';
/** https://ucum.org/ucum */
export const UCUM = 'http://unitsofmeasure.org';

const loinc = (code: string, display: string): CodeableConcept => ({ coding: [{ system: LOINC, code, display }] });
const snomed = (code: string, display: string): Coding => ({ system: SNOMED_CT, code, display });

/** https://hl7.org/fhir/R4/observation-vitalsigns.html has these. */
export const BLOOD_PRESSURE = loinc('85354-9', 'Blood pressure panel with all children optional');
export const SYSTOLIC = loinc('8480-6', 'Systolic blood pressure');
export const DIASTOLIC = loinc('8462-4', 'Diastolic blood pressure');
export const HEART_RATE = loinc('8867-4', 'Heart rate');

export const VITAL_SIGNS: CodeableConcept = {
  coding: [{ system: OBSERVATION_CATEGORY, code: 'vital-signs', display: 'Vital Signs' }],
};
export const UNKNOWN_REASON: CodeableConcept = {
  coding: [{ system: DATA_ABSENT_REASON, code: 'unknown', display: 'Unknown' }],
};
export const AMBULATORY: Coding = { system: ACT_CODE, code: 'AMB', display: 'ambulatory' };

/** A column's words, in lower case with _ for what parts them, and what they mean. */
export type Words = Readonly<Record<string, Coding>>;

export const BODY_POSITIONS: Words = {
  sitting: snomed('33586001', 'Sitting position'),
  standing: snomed('10904000', 'Orthostatic body position'),
  lying: snomed('102538003', 'Recumbent body position'),
};
export const ARMS: Words = {
  left_arm: snomed('368208006', 'Left upper arm structure'),
  right_arm: snomed('368209003', 'Right upper arm structure'),
};
export const RHYTHMS: Words = {
  regular: snomed('271636001', 'Pulse regular'),
  irregular: snomed('61086009', 'Pulse irregular'),
};
export const PULSE_METHODS: Words = {
  palpation: snomed('113011001', 'Palpation'),
  auscultation: snomed('37931006', 'Auscultation'),
};
export const PULSE_SITES: Words = {
  radial: snomed('45631007', 'Structure of radial artery'),
  carotid: snomed('69105007', 'Carotid artery structure'),
  heart: snomed('80891009', 'Heart structure'),
  finger: snomed('7569003', 'Finger structure'),
};

/** The code, and the text as it is; of a word that the table does not have, the text alone. */
export function coded(text: string, words: Words): CodeableConcept {
  const word = text
    .trim()
    .toLowerCase()
    .replace(/[\s_-]+/g, '_');
  return { ...(Object.hasOwn(words, word) && { coding: [words[word] as Coding] }), text };
}
