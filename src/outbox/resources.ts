// Which tables feed which FHIR resource, and how its payload is mapped.
import { type MappedResource, mapPatient, type Profile } from '../fhir/patient-mapper.ts';
import { patientPayload } from '../fhir/patient-payload.ts';
import type { OutboxEvent } from './event.ts';

export interface ResourceKind {
  readonly type: string;
  /** The table whose rows decide whether the resource exists. */
  readonly table: string;
  /** Tables whose rows are part of the resource. */
  readonly children: readonly string[];
  /** The id, in `table`, of the row that the event belongs to; null when the event names none. */
  sourceId(event: OutboxEvent): number | null;
  /** Pure and deterministic. `deactivate` maps the resource as it is to be after a delete that keeps it. */
  map(payload: unknown, profile: Profile, deactivate: boolean): MappedResource;
}

const patient: ResourceKind = {
  type: 'Patient',
  table: 'patient',
  children: ['patient_other_identifiers'],
  sourceId: (event) => event.patientId,
  map(payload, profile, deactivate) {
    const parsed = patientPayload.safeParse(payload);
    if (!parsed.success) {
      const columns = [...new Set(parsed.error.issues.map((issue) => String(issue.path[0])))].join(', ');
      return { ok: false, reason: `The payload is no patient: unexpected content in ${columns}.` };
    }
    return mapPatient(parsed.data, profile, deactivate ? { active: false } : {});
  },
};

const KINDS: readonly ResourceKind[] = [patient];

const BY_TYPE = new Map(KINDS.map((kind) => [kind.type, kind]));
const BY_TABLE = new Map(
  KINDS.flatMap((kind) => [kind.table, ...kind.children].map((table) => [table, kind] as const)),
);

export function kindOfTable(table: string): ResourceKind | undefined {
  return BY_TABLE.get(table);
}

export function kindOfType(type: string): ResourceKind | undefined {
  return BY_TYPE.get(type);
}
