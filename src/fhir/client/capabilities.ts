// What the server says of itself in its CapabilityStatement, https://hl7.org/fhir/R4/capabilitystatement.html , and what
// follows from it for this connector's configuration.

import { z } from 'zod';
import { type Failed, faultOf } from '../faults/fault.ts';
import { knownSoftware } from './software.ts';

/** Each part is null where the statement does not say: nearly all of it is optional, and many servers leave much out. */
export interface Capabilities {
  /** As "HAPI FHIR Server 8.8.0"; null also for software that is not known. */
  readonly software: string | null;
  /** By the name of the resource type. */
  readonly types: ReadonlyMap<string, TypeCapabilities> | null;
  /** Codes of what is done for the server as a whole: transaction, batch … */
  readonly systemInteractions: ReadonlySet<string> | null;
}

interface TypeCapabilities {
  /** Codes: read, update, delete, search-type … */
  readonly interactions: ReadonlySet<string> | null;
  readonly searchParameters: ReadonlySet<string> | null;
  readonly conditionalUpdate: boolean | null;
  /** no-version, versioned, or versioned-update. */
  readonly versioning: string | null;
}

export type CapabilitiesAnswer = { ok: true; capabilities: Capabilities } | Failed;

/** What of the configuration decides what the server must offer. */
export interface Needs {
  readonly update: 'by-id' | 'conditional';
  readonly deletes: 'deactivate' | 'delete';
  readonly batchSize: number;
  /** The types that are sent. */
  readonly resources: readonly string[];
}

/** One element out of order, perhaps of a type that is none of ours, says nothing; it must not make the server none. */
const lenient = <T extends z.ZodType>(part: T) => part.optional().catch(undefined);

const resource = z.object({
  type: lenient(z.string()),
  interaction: lenient(z.array(z.object({ code: z.string() }))),
  versioning: lenient(z.string()),
  conditionalUpdate: lenient(z.boolean()),
  searchParam: lenient(z.array(z.object({ name: z.string() }))),
});

const statement = z.object({
  resourceType: z.literal('CapabilityStatement'),
  fhirVersion: z.string(),
  software: lenient(z.object({ name: z.string(), version: lenient(z.string()) })),
  rest: z
    .array(
      z.object({
        mode: lenient(z.string()),
        resource: lenient(z.array(resource)),
        interaction: resource.shape.interaction,
      }),
    )
    .default([]),
});

/** Reads the body of /metadata. Anything but the CapabilityStatement of an R4 server is a fault with a clear sentence. */
export function readCapabilities(body: unknown, status: number): CapabilitiesAnswer {
  const read = statement.safeParse(body);
  if (!read.success) return { ok: false, fault: faultOf('not-fhir', status) };
  const { fhirVersion, software, rest } = read.data;
  if (!/^4\.0\.\d+$/.test(fhirVersion)) return { ok: false, fault: faultOf('not-r4', status) };
  const servers = rest.filter(({ mode }) => mode === 'server');
  const types = servers.flatMap(({ resource }) => resource ?? []);
  return {
    ok: true,
    capabilities: {
      software: software === undefined ? null : knownSoftware(software.name, software.version),
      types: types.length === 0 ? null : new Map(types.map((each) => [each.type ?? '', capabilitiesOf(each)])),
      systemInteractions: setOf(servers.flatMap(({ interaction }) => interaction?.map(({ code }) => code) ?? [])),
    },
  };
}

/**
 * What the connector needs and the server says that it does not offer: for each a sentence of what is wrong, what
 * follows, and what to set.
 *
 * None of it ends the connector. A statement describes what a server means to offer, often by hand and for all its
 * clients; a line too many in the log does no harm, a connector that does not start because of one does. And where it is
 * right, nothing is lost: what the server then refuses is held, or is a dead letter, with this sentence to explain it.
 */
export function lacking({ types, systemInteractions }: Capabilities, needs: Needs): string[] {
  const ofTypes = needs.resources.flatMap((type) => (types === null ? [] : lackingOf(type, types.get(type), needs)));
  if (needs.batchSize === 1 || systemInteractions === null || systemInteractions.has('transaction')) return ofTypes;
  return [
    ...ofTypes,
    'The FHIR server does not offer transactions: the first Bundles will be refused, and then each resource goes in a request of its own. Set FHIR_BATCH_SIZE=1, or allow transactions on the server.',
  ];
}

function lackingOf(type: string, capabilities: TypeCapabilities | undefined, { update, deletes }: Needs): string[] {
  if (!capabilities) {
    return [
      type === 'Patient'
        ? 'The FHIR server does not list Patient: nothing can be delivered. Check that FHIR_SERVER is the right server.'
        : `The FHIR server does not list ${type}: none can be delivered. Allow it on the server, or leave it out of FHIR_RESOURCES.`,
    ];
  }
  const { interactions, searchParameters, conditionalUpdate, versioning } = capabilities;
  const lacks = (code: string) => interactions !== null && !interactions.has(code);
  const [one, nothing] = type === 'Patient' ? ['patient', 'nothing'] : ['resource', 'none'];
  const sentences: [boolean, string][] = [
    [
      lacks('update'),
      `The FHIR server does not offer to update ${type}: ${nothing} can be delivered. Allow it on the server.`,
    ],
    [
      conditionalUpdate === false,
      `The FHIR server does not offer conditional update of ${type}, by which each ${one} is first found or created: new ${one}s cannot be delivered. Switch it on on the server; no setting of the connector does without it.`,
    ],
    [
      lacks('search-type') || (searchParameters !== null && !searchParameters.has('identifier')),
      `The FHIR server does not offer to search ${type} by identifier: ${one}s cannot be found there, and a write whose answer was lost cannot be looked up. Allow this search on the server.`,
    ],
    [
      lacks('read'),
      `The FHIR server does not offer to read ${type}: after a conflict the connector cannot look, so that delivery fails. Allow it on the server.`,
    ],
    // "versioned" says nothing of If-Match: R4 has versioned-update for servers that insist on it.
    [
      update === 'by-id' && versioning === 'no-version',
      `The FHIR server keeps no versions of ${type}, so If-Match cannot work: updates are not fenced, and others' edits are overwritten without being noticed. Switch versioning on on the server; FHIR_UPDATE=conditional is not fenced either.`,
    ],
    [
      deletes === 'delete' && lacks('delete'),
      `The FHIR server does not offer to delete ${type}: each deleted row will be a dead letter. Set FHIR_DELETE=deactivate, or allow deletes on the server.`,
    ],
  ];
  return sentences.filter(([applies]) => applies).map(([, sentence]) => sentence);
}

function capabilitiesOf(type: z.infer<typeof resource>): TypeCapabilities {
  return {
    interactions: setOf(type.interaction?.map(({ code }) => code)),
    searchParameters: setOf(type.searchParam?.map(({ name }) => name)),
    conditionalUpdate: type.conditionalUpdate ?? null,
    versioning: type.versioning ?? null,
  };
}

/** An empty list says as little as none; R4 knows no empty arrays, https://hl7.org/fhir/R4/json.html#repeats . */
function setOf(values: readonly string[] | undefined): ReadonlySet<string> | null {
  return values === undefined || values.length === 0 ? null : new Set(values);
}
