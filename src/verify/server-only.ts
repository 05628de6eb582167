// The other direction: resources on the server that the database knows nothing of, as after a restore to an earlier point.
import type { Json } from '../fhir/answer.ts';
import { isObject } from '../fhir/answer.ts';
import type { FhirClient } from '../fhir/client.ts';
import { readIdentifier, type Token } from '../fhir/token.ts';
import type { Database } from '../outbox/database.ts';
import { doesNotWork, patiently, readResource } from './resource-reader.ts';
import { unlinkedOf } from './source.ts';

interface Listed {
  readonly id: string;
  readonly identifiers: readonly Token[];
}

export interface ServerOnly {
  readonly fhirId: string;
  /** The patient that has another resource with this primary identifier; null when no patient has it. */
  readonly sourceId: number | null;
}

/**
 * Lists the active Patients on the server that carry an identifier of one of these systems and that no link names.
 * Others are no business of ours. `onPage` is told how many resources were seen. Throws a FatalError when the server
 * does not let itself be listed.
 */
export async function listUnlinked(
  db: Database,
  fhir: FhirClient,
  systems: ReadonlySet<string>,
  onPage: (seen: number) => void,
  signal: AbortSignal,
): Promise<Listed[]> {
  const candidates: Listed[] = [];
  let seen = 0;
  for (let page = await pageOf(fhir, null, signal); ; page = await pageOf(fhir, page.next, signal)) {
    const ours = page.resources.flatMap((resource) => listed(resource, systems) ?? []);
    const unlinked = new Set((await unlinkedOf(db, ours)).map(({ fhirId }) => fhirId));
    candidates.push(...ours.filter(({ id }) => unlinked.has(id)));
    seen += page.resources.length;
    onPage(seen);
    if (page.next === null) return candidates;
  }
}

async function pageOf(fhir: FhirClient, next: string | null, signal: AbortSignal) {
  const page = await patiently(() => fhir.list('Patient', ['identifier', 'active'], next), signal);
  if (!page.ok) throw doesNotWork(page.fault);
  return page;
}

/**
 * What is left of the candidates when changes on their way had time to arrive: still unlinked, still there, and not the
 * resource that its patient, not sent yet, will take over.
 */
export async function confirmUnlinked(
  db: Database,
  fhir: FhirClient,
  systems: ReadonlySet<string>,
  candidates: readonly Listed[],
  signal: AbortSignal,
): Promise<ServerOnly[]> {
  const confirmed: ServerOnly[] = [];
  for (const { id } of candidates) {
    const found = await readResource(fhir, id, signal);
    const current = found.kind === 'found' ? listed(found.resource, systems) : null;
    // Read first, asked afterwards: a link is recorded after its resource is there.
    for (const { sourceId, linked } of current ? await unlinkedOf(db, [current]) : [])
      if (sourceId === null || linked) confirmed.push({ fhirId: id, sourceId });
  }
  return confirmed;
}

function listed(resource: Json, systems: ReadonlySet<string>): Listed | null {
  const { id, active, identifier } = resource;
  if (typeof id !== 'string' || active === false || !Array.isArray(identifier)) return null;
  const identifiers = identifier.filter(isObject).flatMap(({ system, value }) => {
    const reading = readIdentifier(textOf(system), textOf(value));
    return reading.kind === 'token' && systems.has(reading.token.system) ? [reading.token] : [];
  });
  return identifiers.length > 0 ? { id, identifiers } : null;
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
