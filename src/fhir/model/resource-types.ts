// The FHIR R4 shapes that the connector writes; types only, so nothing of them is loaded at run time.

import type * as r4 from '@medplum/fhirtypes';

export type {
  Address,
  CodeableConcept,
  Coding,
  ContactPoint,
  Encounter,
  Extension,
  HumanName,
  Observation,
  Quantity,
} from '@medplum/fhirtypes';

/** With what may stand where a primitive has no value, https://hl7.org/fhir/R4/json.html#primitive . */
export interface Identifier extends r4.Identifier {
  _system?: { extension: r4.Extension[] };
}

export interface Patient extends r4.Patient {
  identifier?: Identifier[];
}

/** What can be written. Every kind has business identifiers, by which its first write finds it. */
export type Resource = Patient | Exclude<Extract<r4.Resource, { identifier?: r4.Identifier[] }>, r4.Patient>;
