// The other direction: resources on the server that the database knows nothing of, as after a restore to an earlier point.
import { FatalError } from '../fatal.ts';
import { matchOf } from '../fhir/client/answer.ts';
import type { FhirClient } from '../fhir/client/fhir-client.ts';
import { identifiersIn } from '../fhir/model/identifiers.ts';
import type { Json } from '../fhir/model/json.ts';
import type { Token } from '../fhir/model/token.ts';
import { toldId } from '../fhir/model/told-id.ts';
import { isWithdrawn, type ResourceKind } from '../outbox/delivery/kinds.ts';
import type { Database } from '../outbox/tables/database.ts';
import { doesNotWork, patiently, readResource } from './resource-reader.ts';
import { unlinkedOf } from './row-states.ts';

/** A list that goes on and on without a single resource has no end that could be waited for. */
const MOST_EMPTY_PAGES = 1000;
/** Some hundred megabytes. Nobody looks through so many by hand; rather the whole database is the wrong one. */
const MOST_CANDIDATES = 1_000_000;
const NO_END = 'The FHIR server could not be compared with: its list of resources has no end: ';

interface Listed {
  readonly id: string;
  readonly identifiers: readonly Token[];
}

export interface ServerOnly {
  /** As it may be told. */
  readonly fhirId: string;
  /** The row that has another resource with this primary identifier; null when no row has it. */
  readonly sourceId: number | null;
}

/**
 * Lists the resources of the kind on the server that carry an identifier of one of these systems, are not withdrawn, and that
 * no link names: others are no business of ours. `onPage` is told how many resources were seen. Throws a FatalError when the
 * server does not let itself be listed.
 */
export async function listUnlinked(
  db: Database,
  fhir: FhirClient,
  kind: ResourceKind,
  systems: ReadonlySet<string>,
  onPage: (seen: number) => void,
  signal: AbortSignal,
): Promise<Listed[]> {
  const candidates: Listed[] = [];
  let seen = 0;
  let emptyPages = 0;
  const asked = new Set<string>();
  // Only of what we identify ourselves do we know the system before.
  const ofSystem = kind.hasIdentifiers ? null : ([...systems][0] ?? null);
  const pageOf = async (next: string | null) => {
    const page = await patiently(() => fhir.list(kind.type, ofSystem, elementsOf(kind), next), signal);
    if (!page.ok) throw doesNotWork(page.fault);
    return page;
  };
  for (let page = await pageOf(null); ; page = await pageOf(page.next)) {
    const ours = page.resources.flatMap((resource) => listed(resource, kind, systems) ?? []);
    const unlinked = new Set((await unlinkedOf(db, kind.table, ours)).map(({ fhirId }) => fhirId));
    candidates.push(...ours.filter(({ id }) => unlinked.has(id)));
    seen += page.resources.length;
    onPage(seen);
    if (page.next === null) return candidates;
    emptyPages = page.resources.length === 0 ? emptyPages + 1 : 0;
    if (asked.has(page.next)) throw new FatalError(`${NO_END}a page leads back to one before it.`);
    if (emptyPages > MOST_EMPTY_PAGES) throw new FatalError(`${NO_END}page after page holds none.`);
    if (candidates.length > MOST_CANDIDATES)
      throw new FatalError(`${NO_END}the database knows nothing of more than a million of them. Is it the right one?`);
    asked.add(page.next);
  }
}

function elementsOf({ withdrawn }: ResourceKind): string[] {
  return ['identifier', ...Object.keys(withdrawn)];
}

/**
 * What is left of the candidates when changes on their way had time to arrive: still unlinked, still there, and not the
 * resource that its row, not sent yet, will take over.
 */
export async function confirmUnlinked(
  db: Database,
  fhir: FhirClient,
  kind: ResourceKind,
  systems: ReadonlySet<string>,
  candidates: readonly Listed[],
  signal: AbortSignal,
): Promise<ServerOnly[]> {
  const confirmed: ServerOnly[] = [];
  for (const { id } of candidates) {
    const found = await readResource(fhir, kind.type, id, signal);
    const resource = found.kind === 'found' ? found.resource : null;
    const current = resource && listed(resource, kind, systems);
    // Read first, asked afterwards: a link is recorded after its resource is there.
    for (const { sourceId, linked } of current ? await unlinkedOf(db, kind.table, [current]) : [])
      if (sourceId === null || linked) confirmed.push({ fhirId: toldId(id, resource), sourceId });
  }
  return confirmed;
}

function listed(resource: Json, kind: ResourceKind, systems: ReadonlySet<string>): Listed | null {
  // What is no id of FHIR is not repeated either.
  const id = matchOf(resource)?.id;
  if (id === undefined || isWithdrawn(resource, kind)) return null;
  const identifiers = identifiersIn(resource).filter(({ system }) => systems.has(system));
  return identifiers.length > 0 ? { id, identifiers } : null;
}
