// What the server says of itself in its CapabilityStatement, https://hl7.org/fhir/R4/capabilitystatement.html .

import { z } from 'zod';
import type { Fault } from './fault.ts';
import { faultOf } from './fault.ts';

interface Capabilities {
  /** As 4.0.1 */
  readonly fhirVersion: string;
  /** As "HAPI FHIR Server 8.8.0"; null when the server does not say. */
  readonly software: string | null;
  readonly patient: {
    readonly conditionalUpdate: boolean;
    /** Whether If-Match is honoured on a write by id (versioned-update). */
    readonly versionedUpdate: boolean;
  };
  /** What the connector needs and the statement does not offer, a sentence each. */
  readonly missing: readonly string[];
}

export type CapabilitiesAnswer = { ok: true; capabilities: Capabilities } | { ok: false; fault: Fault };

const statement = z.object({
  resourceType: z.literal('CapabilityStatement'),
  fhirVersion: z.string(),
  software: z.object({ name: z.string(), version: z.string().optional() }).optional().catch(undefined),
  rest: z
    .array(
      z.object({
        mode: z.string(),
        resource: z
          .array(
            z.object({
              type: z.string(),
              interaction: z.array(z.object({ code: z.string() })).default([]),
              versioning: z.string().optional(),
              conditionalUpdate: z.boolean().optional(),
            }),
          )
          .default([]),
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
  const patient = rest.find(({ mode }) => mode === 'server')?.resource.find(({ type }) => type === 'Patient');
  const can = new Set(patient?.interaction.map(({ code }) => code));
  const missing = [
    ...(can.has('update') ? [] : ['The server does not offer to update Patient.']),
    ...(can.has('search-type')
      ? []
      : ['The server does not offer to search Patient: lost answers cannot be resolved.']),
    ...(patient?.conditionalUpdate === true
      ? []
      : ['The server does not offer conditional update of Patient, which the first write of every patient is.']),
  ];
  return {
    ok: true,
    capabilities: {
      fhirVersion,
      software: software === undefined ? null : [software.name, software.version ?? ''].join(' ').trim(),
      patient: {
        conditionalUpdate: patient?.conditionalUpdate === true,
        versionedUpdate: patient?.versioning === 'versioned-update',
      },
      missing,
    },
  };
}
