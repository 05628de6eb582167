// Which resource on the server is the row's own: a server that has lost what it had gives the ids away again, to others.
import type { Match } from '../../fhir/client/answer.ts';
import type { FhirClient } from '../../fhir/client/fhir-client.ts';
import type { Put } from '../../fhir/client/put.ts';
import type { Fault } from '../../fhir/faults/fault.ts';
import { differences } from '../../fhir/model/differences.ts';
import { haveOneInCommon, identifiersIn } from '../../fhir/model/identifiers.ts';
import type { Json } from '../../fhir/model/json.ts';
import type { Resource } from '../../fhir/model/resource-types.ts';
import type { Token } from '../../fhir/model/token.ts';
import type { Delivery } from '../delivery/delivery.ts';
import type { Source } from '../delivery/source.ts';
import type { Links } from '../tables/links.ts';
import { refused, type WriteContext, type WriteResult } from './write-context.ts';

type OwnRead =
  | { readonly kind: 'own'; readonly versionId: string | null }
  | { readonly kind: 'of-another' }
  | { readonly kind: 'gone'; readonly fault: Fault }
  | { readonly kind: 'failed'; readonly fault: Fault };

type OwnFound =
  | { readonly kind: 'none' }
  | { readonly kind: 'owned'; readonly owner: Source }
  | { readonly kind: 'one'; readonly match: Match }
  | Extract<WriteResult, { kind: 'failed' | 'refused' }>;

/** Asks the server, and the links, which know whose resource is whose. */
export class OwnResource {
  readonly #fhir: FhirClient;
  readonly #links: Links;

  constructor(fhir: FhirClient, links: Links) {
    this.#fhir = fhir;
    this.#links = links;
  }

  /** Reads a resource as it is, or as it was in a version. */
  async read(context: WriteContext, id: string, versionId?: string): Promise<OwnRead> {
    const found = await this.#fhir.read(context.delivery.resourceType, id, versionId);
    if (!found.ok) return { kind: found.fault.disposition === 'gone' ? 'gone' : 'failed', fault: found.fault };
    if (await this.isOfAnother(context, found.resource)) return { kind: 'of-another' };
    return { kind: 'own', versionId: found.versionId };
  }

  /** Does it have identifiers, and none that this row's resource has, had before this change, or was delivered with? */
  async isOfAnother({ delivery, mapped }: WriteContext, resource: Json): Promise<boolean> {
    const theirs = identifiersIn(resource);
    if (theirs.length === 0) return false;
    const known = mapped.ok ? mapped.identifiers : mapped.identifier ? [mapped.identifier] : [];
    const ours = [...known, ...(delivery.previous ?? [])];
    if (haveOneInCommon(theirs, ours)) return false;
    return !haveOneInCommon(theirs, await this.#links.identifiersOf(delivery));
  }

  /** The one resource with this identifier; `owned` when it belongs to another living row. */
  async find(delivery: Delivery, identifier: Token): Promise<OwnFound> {
    const found = await this.#fhir.search(delivery.resourceType, identifier);
    if (!found.ok) return { kind: 'failed', fault: found.fault };
    const [match, second] = found.matches;
    if (!match) return { kind: 'none' };
    if (second)
      return refused('Several resources on the FHIR server carry the identifier: merge them there, then dlq replay.');
    const owner = await this.#links.livingOwner(delivery, match.id);
    return owner === null ? { kind: 'one', match } : { kind: 'owned', owner };
  }
}

/**
 * Is the current version what this delivery sent: by the request id that the server kept, or by its body apart from id and
 * meta? Of what went in a Bundle the server kept the Bundle's id, so the body alone tells. That is enough: the same body by
 * somebody else needs no other write, and a server that changes what it is given shows drift in each comparison anyway; there
 * a lost answer costs one version more.
 */
export function isWhatWeSent(current: Json, sent: Resource, { requestId }: Put): boolean {
  const meta = current.meta as { source?: unknown } | undefined;
  if (typeof meta?.source === 'string' && meta.source.endsWith(`#${requestId}`)) return true;
  return differences(sent, current).length === 0;
}
