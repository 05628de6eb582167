// What a mapping gives: a resource that can be sent, or the reason why there is none.
import type { Resource } from '../model/resource-types.ts';
import type { Token } from '../model/token.ts';

/** Whose rules a resource keeps beside those of FHIR R4, which is the base of all. */
export type Profile = 'us-core' | 'r4';

/** An element that is to refer to the resource of another row. Its FHIR id is known only when the resource is sent. */
export interface RowReference {
  /** As subject. */
  readonly element: string;
  readonly table: string;
  readonly id: number;
}

/**
 * The resource with the identifier that addresses it, all that it has, primary first, and what it is to refer to besides; or
 * why there is none. A reason names the column at fault and never its content.
 */
export type MappedResource<R extends Resource = Resource> =
  | {
      readonly ok: true;
      readonly resource: R;
      readonly identifier: Token;
      readonly identifiers: Token[];
      readonly references: readonly RowReference[];
    }
  | {
      readonly ok: false;
      readonly reason: string;
      /** Where it is known all the same: of a row of which nothing else is left. */
      readonly identifier?: Token;
    };
