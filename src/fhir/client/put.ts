// One PUT as it is asked for: where it goes and what it carries, whether alone or as an entry of a Bundle.

import { hasIdentifier } from '../model/identifiers.ts';
import type { Resource } from '../model/resource-types.ts';
import type { Token } from '../model/token.ts';
import { tokenParameter } from '../model/token.ts';
import { requestId } from './request-id.ts';

export interface Put {
  readonly type: string;
  /** `id`: by id; `identifier`: by the one resource that has it, or else a new one. */
  readonly by: { readonly id: string } | { readonly identifier: Token };
  /** Below the base URL: Patient/7, Patient?identifier=… */
  readonly path: string;
  /** The resource as JSON. */
  readonly body: string;
  /** The entity tag that the resource must have; null for none. */
  readonly ifMatch: string | null;
  /** The same for a repeat, by whichever way it goes. */
  readonly requestId: string;
}

export function putOfIdentifier(resource: Resource, identifier: Token, eventKey: string): Put {
  // HAPI checks this only when it creates: on an update it would take the body of another patient.
  if (!hasIdentifier({ ...resource }, identifier)) {
    throw new TypeError('The resource does not have the identifier that it is to be written by.');
  }
  const type = resource.resourceType;
  const path = `${type}?identifier=${tokenParameter(identifier)}`;
  const body = JSON.stringify(resource);
  return { type, by: { identifier }, path, body, ifMatch: null, requestId: requestId(eventKey, body) };
}

export function putOfId(resource: Resource, id: string, versionId: string | null, eventKey: string): Put {
  const type = resource.resourceType;
  const json = JSON.stringify(resource);
  // Put in as text: to make JSON of all of it twice takes a good part of a delivery's time.
  const body =
    'id' in resource ? JSON.stringify({ ...resource, id }) : `${json.slice(0, -1)},"id":${JSON.stringify(id)}}`;
  return {
    type,
    by: { id },
    path: `${type}/${encodeURIComponent(id)}`,
    body,
    ifMatch: versionId === null ? null : `W/"${versionId}"`,
    // Without the id: a repeat of what went by identifier has that one's.
    requestId: requestId(eventKey, json),
  };
}
