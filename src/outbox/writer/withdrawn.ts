// What is sent for a deleted row whose last state was not kept (an event emitted again): what the server has, withdrawn.
import type { FhirClient } from '../../fhir/client/fhir-client.ts';
import { isObject, type Json } from '../../fhir/model/json.ts';
import type { Resource } from '../../fhir/model/resource-types.ts';
import { kindOfTable } from '../delivery/kinds.ts';
import { gone, type Known, type StateContext, type WriteContext, type WriteResult } from './write-context.ts';

/** Reads it from the server; a result where that ends the write: it is not there any more, or the read failed. */
export async function withdrawn(
  fhir: FhirClient,
  context: WriteContext,
  known: Known,
): Promise<StateContext | WriteResult> {
  const { delivery, mapped } = context;
  const current = await fhir.read(delivery.resourceType, known.id);
  if (!current.ok) return current.fault.disposition === 'gone' ? gone(known) : { kind: 'failed', fault: current.fault };
  const { identifier = { system: '', value: '' } } = mapped;
  const resource = {
    ...withoutServersMeta(current.resource),
    ...kindOfTable(delivery.table)?.withdrawn,
  } as unknown as Resource;
  const identifiers = mapped.identifier ? [identifier] : [];
  return { ...context, mapped: { ok: true, resource, identifier, identifiers, references: [] } };
}

/** Profiles, security labels and tags say something of the resource, and a PUT without them may end them (on HAPI: profiles). */
function withoutServersMeta({ meta, ...body }: Json): Json {
  const { versionId: _version, lastUpdated: _time, source: _source, ...own } = isObject(meta) ? meta : {};
  return Object.keys(own).length === 0 ? body : { ...body, meta: own };
}
