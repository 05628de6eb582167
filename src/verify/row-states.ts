// What the database knows of the rows of one table, read through functions that need no right on the health tables.
import { sql } from 'kysely';
import type { Token } from '../fhir/model/token.ts';
import type { Source } from '../outbox/delivery/source.ts';
import type { Database } from '../outbox/tables/database.ts';

/** One row, or one link whose row is gone, as of one moment. */
export interface RowState {
  readonly id: number;
  /** As an event would carry it; null when the row is gone. */
  readonly payload: Readonly<Record<string, unknown>> | null;
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
  readonly rows: number;
  /** Rows with a resource. */
  readonly linked: number;
  readonly highestId: number;
  /** Of the primary identifiers; '' for those without one. */
  readonly systems: ReadonlySet<string>;
}

/** A resource that no link names. */
export interface Unlinked {
  readonly fhirId: string;
  /** The row whose primary identifier it carries; null when there is none. */
  readonly sourceId: number | null;
  /** That row has another resource. */
  readonly linked: boolean;
}

export async function overviewOf(db: Database, table: string): Promise<Overview> {
  const { rows } = await sql<{
    rows: string;
    linked: string;
    highest_id: string | null;
    systems: string[] | null;
  }>`SELECT * FROM public.fhir_verify_overview(${table})`.execute(db);
  const row = rows[0];
  return {
    rows: Number(row?.rows),
    linked: Number(row?.linked),
    highestId: Number(row?.highest_id ?? 0),
    systems: new Set(row?.systems ?? []),
  };
}

/** The next ids after `after`, in order, `size` at most. */
export async function sourceIds(db: Database, table: string, after: number, size: number): Promise<number[]> {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM public.fhir_verify_sources(${table}, ${after}, ${size}) AS id`.execute(db);
  return rows.map(({ id }) => Number(id));
}

/** `size` ids at random; the same ones for the same seed as long as the table is the same. */
export async function sampleIds(db: Database, table: string, size: number, seed: number): Promise<number[]> {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM public.fhir_verify_sample(${table}, ${size}, ${seed}) AS id`.execute(db);
  return rows.map(({ id }) => Number(id));
}

export async function readSources(db: Database, table: string, ids: readonly number[]): Promise<RowState[]> {
  const { rows } = await sql<{
    source_id: string;
    payload: Record<string, unknown> | null;
    revision: string;
    fhir_id: string | null;
    version_id: string | null;
    deleted: boolean;
    on_its_way: boolean;
    dead_lettered: boolean;
  }>`SELECT * FROM public.fhir_verify_read(${table}, ${[...ids]}::bigint[])`.execute(db);
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

/** The FHIR ids of these rows' resources, by `${table}/${sourceId}`, of those that have one. */
export async function fhirIdsOf(db: Database, rows: readonly Source[]): Promise<ReadonlyMap<string, string>> {
  if (rows.length === 0) return new Map();
  const { rows: links } = await sql<{ key: string; fhir_id: string }>`
    SELECT l.source_table || '/' || l.source_id AS key, l.fhir_id
      FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r ("table" text, "sourceId" bigint)
      JOIN public.fhir_link AS l ON l.source_table = r."table" AND l.source_id = r."sourceId"
     WHERE l.fhir_id IS NOT NULL AND l.deleted_at IS NULL`.execute(db);
  return new Map(links.map(({ key, fhir_id }) => [key, fhir_id]));
}

export async function unlinkedOf(
  db: Database,
  table: string,
  resources: readonly { id: string; identifiers: readonly Token[] }[],
): Promise<Unlinked[]> {
  if (resources.length === 0) return [];
  const listed = JSON.stringify(resources);
  const { rows } = await sql<{ fhir_id: string; source_id: string | null; linked: boolean }>`
    SELECT * FROM ${
      table === 'patient'
        ? sql`public.fhir_verify_unlinked(${listed}::jsonb)`
        : sql`public.fhir_verify_unlinked_records(${table}, ${listed}::jsonb)`
    }`.execute(db);
  return rows.map((row) => ({
    fhirId: row.fhir_id,
    sourceId: row.source_id === null ? null : Number(row.source_id),
    linked: row.linked,
  }));
}
