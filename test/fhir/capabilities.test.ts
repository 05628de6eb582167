// What a CapabilityStatement is understood to say: HAPI's, a minimal one, one of another version, and none.
import { describe, expect, it } from 'vitest';
import { readCapabilities } from '../../src/fhir/capabilities.ts';

const interactions = (...codes: string[]) => codes.map((code) => ({ code }));

/** The elements of HAPI's own statement, and some of the many others beside them. */
const HAPI = {
  resourceType: 'CapabilityStatement',
  id: 'b2f1',
  status: 'active',
  kind: 'instance',
  fhirVersion: '4.0.1',
  software: { name: 'HAPI FHIR Server', version: '8.8.0' },
  implementation: { description: 'HAPI FHIR R4 Server', url: 'http://localhost:8080/fhir' },
  format: ['application/fhir+json', 'json'],
  rest: [
    { mode: 'client', resource: [{ type: 'Patient', interaction: interactions('delete') }] },
    {
      mode: 'server',
      resource: [
        { type: 'Observation', interaction: interactions('read') },
        {
          type: 'Patient',
          profile: 'http://hl7.org/fhir/StructureDefinition/Patient',
          interaction: interactions('create', 'delete', 'read', 'search-type', 'update'),
          versioning: 'versioned-update',
          conditionalCreate: true,
          conditionalUpdate: true,
          conditionalDelete: 'multiple',
          searchParam: [{ name: 'identifier', type: 'token' }],
        },
      ],
      operation: [{ name: 'validate' }],
    },
  ],
};

function withPatient(patient: Record<string, unknown>): unknown {
  return { ...HAPI, rest: [{ mode: 'server', resource: [{ type: 'Patient', ...patient }] }] };
}

/** What the statement lacks, by the subject of each sentence. */
function missing(body: unknown): readonly string[] {
  const read = readCapabilities(body, 200);
  return read.ok ? read.capabilities.missing : [read.fault.code];
}

const UPDATE = 'The server does not offer to update Patient.';
const SEARCH = 'The server does not offer to search Patient: lost answers cannot be resolved.';
const CONDITIONAL =
  'The server does not offer conditional update of Patient, which the first write of every patient is.';

describe('readCapabilities', () => {
  it('finds all that is needed in the statement of HAPI', () => {
    expect(readCapabilities(HAPI, 200)).toEqual({
      ok: true,
      capabilities: {
        fhirVersion: '4.0.1',
        software: 'HAPI FHIR Server 8.8.0',
        patient: { conditionalUpdate: true, versionedUpdate: true },
        missing: [],
      },
    });
  });

  it('finds nothing in a minimal statement, which is no fault', () => {
    expect(readCapabilities({ resourceType: 'CapabilityStatement', fhirVersion: '4.0.0' }, 200)).toEqual({
      ok: true,
      capabilities: {
        fhirVersion: '4.0.0',
        software: null,
        patient: { conditionalUpdate: false, versionedUpdate: false },
        missing: [UPDATE, SEARCH, CONDITIONAL],
      },
    });
  });

  it('says what is missing', () => {
    const all = { interaction: interactions('update', 'search-type'), conditionalUpdate: true };
    expect(missing(withPatient(all))).toEqual([]);
    expect(missing(withPatient({ ...all, interaction: interactions('search-type') }))).toEqual([UPDATE]);
    expect(missing(withPatient({ ...all, interaction: interactions('update') }))).toEqual([SEARCH]);
    expect(missing(withPatient({ ...all, conditionalUpdate: false }))).toEqual([CONDITIONAL]);
    expect(missing({ ...HAPI, rest: HAPI.rest.slice(0, 1) })).toEqual([UPDATE, SEARCH, CONDITIONAL]);
  });

  it.each(['no-version', 'versioned', undefined])('takes versioning %j for no If-Match', (versioning) => {
    expect(readCapabilities(withPatient({ versioning }), 200)).toMatchObject({
      capabilities: { patient: { versionedUpdate: false } },
    });
  });

  it.each([
    [{ name: 'Blaze' }, 'Blaze'],
    [undefined, null],
    [{ version: '1' }, null],
    ['Blaze', null],
  ])('reads the software %j', (software, expected) => {
    expect(readCapabilities({ ...HAPI, software }, 200)).toMatchObject({ capabilities: { software: expected } });
  });

  it.each(['5.0.0', '4.3.0', '4.1.0', '3.0.2', '4.0', '4.0.1-snapshot', '14.0.1', '4x0.1', ''])(
    'refuses FHIR %j, whatever else the statement says',
    (fhirVersion) => {
      expect(readCapabilities({ ...HAPI, fhirVersion }, 200)).toMatchObject({
        ok: false,
        fault: { code: 'not-r4', disposition: 'hold', status: 200 },
      });
    },
  );

  it.each([
    null,
    undefined,
    {},
    [],
    '<html>',
    { fhirVersion: '4.0.1' },
    { resourceType: 'Conformance', fhirVersion: '1.0.2' },
    { resourceType: 'OperationOutcome', issue: [] },
    { resourceType: 'CapabilityStatement' },
    { resourceType: 'CapabilityStatement', fhirVersion: 4 },
    { resourceType: 'CapabilityStatement', fhirVersion: '4.0.1', rest: 'none' },
  ])('takes %j for no FHIR server', (body) => {
    expect(readCapabilities(body, 200)).toMatchObject({
      ok: false,
      fault: { code: 'not-fhir', disposition: 'hold', status: 200, outcome: null },
    });
  });
});
