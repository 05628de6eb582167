// What the database knows of patients, read through functions that need no right on the patients' tables.
import { sql } from 'kysely';
import type { Token } from '../fhir/token.ts';
import type { Database } from '../outbox/database.ts';

/** One patient, or one link whose patient is gone, as of one moment. */
export interface Source {
  readonly id: number;
  /** As an event would carry it; null when the row is gone. */
  readonly payload: unknown;
  readonly revision: number;
  readonly fhirId: string | null;
  readonly versionId: string | null;
  /** The link is a tombstone. */
  readonly deleted: boolean;
  /** Outbox rows of it are not processed yet. */
  readonly onItsWay: boolean;
  /** Its newest change is a dead letter that waits for somebody, or was discarded. */
  readonly deadLettered: boolean;
}

export interface Overview {
  readonly patients: number;
  /** Patients with a resource. */
  readonly linked: number;
  readonly highestId: number;
  /** Of the primary identifiers; '' for those without one. */
  readonly systems: ReadonlySet<string>;
}

/** A resource that no link names. */
export interface Unlinked {
  readonly fhirId: string;
  /** The patient whose primary identifier it carries; null when there is none. */
  readonly sourceId: number | null;
  /** That patient has another resource. */
  readonly linked: boolean;
}

export async function overviewOf(db: Database): Promise<Overview> {
  const { rows } = await sql<{
    patients: string;
    linked: string;
    highest_id: string | null;
    systems: string[] | null;
  }>`SELECT * FROM public.fhir_verify_overview()`.execute(db);
  const row = rows[0];
  return {
    patients: Number(row?.patients),
    linked: Number(row?.linked),
    highestId: Number(row?.highest_id ?? 0),
    systems: new Set(row?.systems ?? []),
  };
}

/** The next ids after `after`, in order, `size` at most. */
export async function sourceIds(db: Database, after: number, size: number): Promise<number[]> {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM public.fhir_verify_sources(${after}, ${size}) AS id`.execute(db);
  return rows.map(({ id }) => Number(id));
}

/** `size` ids at random; the same ones for the same seed as long as the table is the same. */
export async function sampleIds(db: Database, size: number, seed: number): Promise<number[]> {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM public.fhir_verify_sample(${size}, ${seed}) AS id`.execute(db);
  return rows.map(({ id }) => Number(id));
}

export async function readSources(db: Database, ids: readonly number[]): Promise<Source[]> {
  const { rows } = await sql<{
    source_id: string;
    payload: unknown;
    revision: string;
    fhir_id: string | null;
    version_id: string | null;
    deleted: boolean;
    on_its_way: boolean;
    dead_lettered: boolean;
  }>`SELECT * FROM public.fhir_verify_read(${[...ids]}::bigint[])`.execute(db);
  return rows.map((row) => ({
    id: Number(row.source_id),
    payload: row.payload,
    revision: Number(row.revision),
    fhirId: row.fhir_id,
    versionId: row.version_id,
    deleted: row.deleted,
    onItsWay: row.on_its_way,
    deadLettered: row.dead_lettered,
  }));
}

export async function unlinkedOf(
  db: Database,
  resources: readonly { id: string; identifiers: readonly Token[] }[],
): Promise<Unlinked[]> {
  if (resources.length === 0) return [];
  const { rows } = await sql<{ fhir_id: string; source_id: string | null; linked: boolean }>`
    SELECT * FROM public.fhir_verify_unlinked(${JSON.stringify(resources)}::jsonb)`.execute(db);
  return rows.map((row) => ({
    fhirId: row.fhir_id,
    sourceId: row.source_id === null ? null : Number(row.source_id),
    linked: row.linked,
  }));
}
