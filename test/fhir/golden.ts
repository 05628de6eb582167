// The golden files: rows, and the bytes that each has to become under either profile, or why it is refused.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Profile } from '../../src/fhir/mapping/mapped-resource.ts';
import type { Patient } from '../../src/fhir/model/resource-types.ts';
import { payloadOf } from './payloads.ts';

export const PROFILES: readonly Profile[] = ['us-core', 'r4'];

export interface Golden {
  readonly case: string;
  readonly payload: Record<string, unknown>;
  readonly expected: Readonly<Record<Profile, Patient>> | { readonly reason: string };
}

interface WholeFile {
  readonly payload: Record<string, unknown>;
  readonly r4: Patient;
  readonly 'us-core': Patient;
}

interface Case {
  readonly case: string;
  /** What the row has beside its identifier. */
  readonly columns: Record<string, unknown>;
  readonly r4?: Patient;
  /** The elements that are other ones than in R4, apart from what every US Core Patient has (common.json). */
  readonly 'us-core'?: Partial<Patient>;
  readonly reason?: string;
}

const FOLDER = join(import.meta.dirname, 'golden');
const { meta, ...named } = read('common.json') as { meta: object; $MR: object; $unknown: object[] };

/** By the name of the file. */
export const goldens: ReadonlyMap<string, readonly Golden[]> = new Map(
  globSync('*.json', { cwd: FOLDER })
    .filter((file) => file !== 'common.json')
    .toSorted()
    .map((file) => {
      const content = expanded(read(file)) as WholeFile | Case[];
      return [file, Array.isArray(content) ? content.map(ofCase) : [whole(file, content)]];
    }),
);

function read(file: string): unknown {
  return JSON.parse(readFileSync(join(FOLDER, file), 'utf8'));
}

function whole(file: string, { payload, ...expected }: WholeFile): Golden {
  return { case: file, payload, expected };
}

function ofCase({ case: title, columns, r4, 'us-core': usCore, reason }: Case): Golden {
  const payload = payloadOf(columns);
  if (reason !== undefined) return { case: title, payload, expected: { reason } };
  if (!r4) throw new Error(`The golden case “${title}” has neither a resource nor a reason.`);
  const { resourceType, identifier = [], active, name, ...others } = { ...r4, ...usCore };
  const [primary, ...more] = identifier;
  return {
    case: title,
    payload,
    expected: {
      r4,
      // In the order in which FHIR has the elements, for that is part of what is repeated.
      'us-core': {
        resourceType,
        meta,
        identifier: [{ type: named.$MR, ...primary }, ...more],
        active,
        name,
        ...others,
      } as Patient,
    },
  };
}

/** Written out: what common.json names with a $, and texts too long for a file. */
function expanded(value: unknown): unknown {
  if (typeof value === 'string') return Object.hasOwn(named, value) ? named[value as keyof typeof named] : value;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(expanded);
  if ('$repeat' in value && 'times' in value) return String(value.$repeat).repeat(Number(value.times));
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, expanded(part)]));
}
