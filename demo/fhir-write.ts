// A write that the demonstration's FHIR server has done, as its listeners are told of it.

/** A write that was applied. */
export interface FhirWrite {
  readonly method: string;
  /** Below the base URL, decoded. */
  readonly target: string;
  readonly ifMatch: string | null;
  readonly status: number;
  /** As Patient/6 */
  readonly reference: string;
  readonly versionId: string;
}
