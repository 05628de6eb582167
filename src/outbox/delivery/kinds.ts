// Which tables feed which FHIR resources, and how their payloads are mapped.
import { isDeepStrictEqual } from 'node:util';
import type { MappedResource, Profile } from '../../fhir/mapping/mapped-resource.ts';
import type { RowMapping } from '../../fhir/mapping/row-mapping.ts';
import { ROW_MAPPINGS } from '../../fhir/mapping/tables.ts';
import type { Json } from '../../fhir/model/json.ts';
import type { OutboxEvent } from './event.ts';

export interface ResourceKind {
  readonly type: string;
  /** The table whose rows decide whether the resource exists. */
  readonly table: string;
  /** Tables whose rows are part of the resource. */
  readonly children: readonly string[];
  /** Tables to whose rows' resources it refers. */
  readonly refersTo: readonly string[];
  /** What its event keys begin with. */
  readonly key: string;
  /** Its identifiers are columns: they may change, and go from one row to another. Otherwise it has the one that we give it. */
  readonly hasIdentifiers: boolean;
  /** What a resource that stays says when its row is deleted. */
  readonly withdrawn: Readonly<Record<string, unknown>>;
  /** The id, in `table`, of the row that the event belongs to; null when the event names none. */
  sourceId(event: OutboxEvent): number | null;
  /** Pure and deterministic. `withdraw` maps the resource as it is to be after a delete that keeps it. */
  map(payload: Readonly<Record<string, unknown>>, profile: Profile, withdraw: boolean): MappedResource;
}

const OF_PATIENT = {
  children: ['patient_other_identifiers'],
  key: 'Patient',
  hasIdentifiers: true,
  sourceId: (event: OutboxEvent) => event.patientId,
};

function kindOf({ table, type, references, withdrawn, map }: RowMapping): ResourceKind {
  const ofRecord = {
    children: [],
    // Two tables may have one type.
    key: table,
    hasIdentifiers: false,
    sourceId: (event: OutboxEvent) => event.recordId,
  };
  const refersTo = references.map((reference) => reference.table);
  return { type, table, refersTo, withdrawn, map, ...(table === 'patient' ? OF_PATIENT : ofRecord) };
}

/** Each behind those that it refers to. */
export const KINDS: readonly ResourceKind[] = ROW_MAPPINGS.map(kindOf);

/** All types, each once. */
const RESOURCE_TYPES: readonly string[] = [...new Set(KINDS.map(({ type }) => type))];

/** The kinds of these types. Throws a RangeError, for people, where one is unknown or refers to a type that is not among them. */
export function kindsOfTypes(types: readonly string[]): readonly ResourceKind[] {
  const unknown = types.filter((type) => !RESOURCE_TYPES.includes(type));
  if (unknown.length > 0)
    throw new RangeError(`may name ${RESOURCE_TYPES.join(', ')}, separated by commas, and nothing else`);
  const kinds = KINDS.filter(({ type }) => types.includes(type));
  if (!kinds.some(({ table }) => table === 'patient'))
    throw new RangeError('must name Patient, to which all others refer');
  for (const { type, refersTo } of kinds) {
    const lacking = refersTo.map((table) => kindOfTable(table)?.type ?? '').find((each) => !types.includes(each));
    if (lacking !== undefined) throw new RangeError(`must name ${lacking} too, to which ${type} refers`);
  }
  return kinds;
}

const BY_TABLE = new Map(
  KINDS.flatMap((kind) => [kind.table, ...kind.children].map((table) => [table, kind] as const)),
);

/** Does the resource say what a delete that keeps it leaves? */
export function isWithdrawn(resource: Json, { withdrawn }: ResourceKind): boolean {
  return Object.entries(withdrawn).every(([element, value]) => isDeepStrictEqual(resource[element], value));
}

export function kindOfTable(table: string): ResourceKind | undefined {
  return BY_TABLE.get(table);
}

const RANKS = new Map(KINDS.map(({ table }, rank) => [table, rank]));

/**
 * Where a resource stands among those of one transaction; `table` is the one whose rows decide whether it exists. A resource goes
 * before those that refer to it. Deletes come last of all, and the other way round: those that referred to the deleted one may
 * refer to another one now, and must be sent first.
 */
export function deliveryRank(table: string, isDelete: boolean): number {
  const rank = RANKS.get(table) ?? 0;
  return isDelete ? 2 * KINDS.length - rank : rank;
}
