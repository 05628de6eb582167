// The FHIR R4 shapes that the connector writes; types only, so nothing of them is loaded at run time.

import type { Patient } from '@medplum/fhirtypes';

export type { Address, ContactPoint, HumanName, Identifier, Patient } from '@medplum/fhirtypes';

/** What can be written. Every kind has business identifiers, by which its first write finds it. */
export type Resource = Patient;
