// The mapping of a table of which each row is one resource. A file beside this one for each such table says what is its own;
// what records (all but the patient) have in common is here: the identifier, the references, and what a deleted row leaves behind.
import { z } from 'zod';
import type { Resource } from '../model/resource-types.ts';
import { readIdentifier } from '../model/token.ts';
import { faultIn } from './columns.ts';
import type { MappedResource, Profile, RowReference } from './mapped-resource.ts';

export interface RowMapping {
  readonly table: string;
  readonly type: Resource['resourceType'];
  /** What is mapped of the row, each column with its rule: docs/mapping.md lists them. What is not named is ignored. */
  readonly columns: z.ZodObject;
  /** The elements that refer to other rows' resources. */
  readonly references: readonly ReferenceColumn[];
  /** What a resource that stays says when its row is deleted; undefined for what it does not say any more. */
  readonly withdrawn: Readonly<Record<string, unknown>>;
  /** Pure: the same bytes for the same row. `withdraw`: as `withdrawn` has it, after a delete that keeps the resource. */
  map(row: Readonly<Record<string, unknown>>, profile: Profile, withdraw: boolean): MappedResource;
}

interface ReferenceColumn {
  /** As subject. */
  readonly element: string;
  readonly column: string;
  readonly table: string;
}

/** What a definition says by its other members; the last three are how FHIR names what a record refers to. */
type Added = 'resourceType' | 'identifier' | 'subject' | 'patient' | 'encounter';

interface Definition<Columns extends z.ZodObject, R extends Resource> {
  /** Its columns id and patient_id are those of the row and of its patient. */
  readonly table: string;
  readonly type: Exclude<R['resourceType'], 'Patient'>;
  readonly columns: Columns;
  readonly references: readonly ReferenceColumn[];
  readonly withdrawn: { readonly [Element in keyof R]?: R[Element] | undefined };
  /** The rest of the resource. */
  elements(row: z.output<Columns>, profile: Profile): Omit<R, Added>;
}

/** What sql/migrations/016_records.sql adds to each row: in a system of this database's alone, the row's table and id. */
const ownIdentifier = z.object({ system: z.string(), value: z.string() });

export function recordMapping<Columns extends z.ZodObject, R extends Resource>(
  definition: Definition<Columns, R>,
): RowMapping {
  const { table, type, columns, references, withdrawn, elements } = definition;
  return {
    table,
    type,
    columns,
    references,
    withdrawn,
    map(payload, profile, withdraw) {
      const own = ownIdentifier.safeParse(payload.fhir_identifier);
      const reading = own.success ? readIdentifier(own.data.system, own.data.value) : null;
      if (reading?.kind !== 'token') return { ok: false, reason: 'The outbox row has no fhir_identifier.' };
      const identifier = reading.token;
      // An event that was emitted for a row that was gone by then.
      if (typeof payload.id !== 'number')
        return { ok: false, reason: 'The row is gone, and its last state was not kept.', identifier };
      const parsed = columns.safeParse(payload);
      if (!parsed.success) return { ok: false, reason: faultIn(parsed.error), identifier };
      const resource = {
        resourceType: type,
        identifier: [identifier],
        ...elements(parsed.data, profile),
        ...(withdraw && withdrawn),
      } as unknown as Resource;
      const refers: RowReference[] = [];
      for (const { element, column, table: to } of references) {
        const id = payload[column];
        if (typeof id !== 'number') continue;
        // PostgreSQL would refuse to look for such a row.
        if (!Number.isSafeInteger(id)) return { ok: false, reason: `${column} is no id of a row.`, identifier };
        refers.push({ element, table: to, id });
      }
      return { ok: true, resource, identifier, identifiers: [identifier], references: refers };
    },
  };
}
