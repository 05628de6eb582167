// What a CapabilityStatement is understood to say: HAPI's, a minimal one, one of another version, and none; and what is
// said of it at the start.
import { describe, expect, it } from 'vitest';
import { lacking, readCapabilities } from '../../src/fhir/client/capabilities.ts';

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

const BY_ID = { update: 'by-id', deletes: 'deactivate', batchSize: 1, resources: ['Patient'] } as const;

/** What is wrong, by the sentences' first part; or the fault's code. */
function wrong(body: unknown, needs: Parameters<typeof lacking>[1] = BY_ID): string[] {
  const read = readCapabilities(body, 200);
  return read.ok ? lacking(read.capabilities, needs).map((text) => text.split(/[,:]/)[0] ?? '') : [read.fault.code];
}

const UPDATE = 'The FHIR server does not offer to update Patient';
const SEARCH = 'The FHIR server does not offer to search Patient by identifier';
const READ = 'The FHIR server does not offer to read Patient';
const DELETE = 'The FHIR server does not offer to delete Patient';
const CONDITIONAL = 'The FHIR server does not offer conditional update of Patient';
const TRANSACTION = 'The FHIR server does not offer transactions';
const VERSIONS = 'The FHIR server keeps no versions of Patient';

const UNSAID = { interactions: null, searchParameters: null, conditionalUpdate: null, versioning: null };

describe('readCapabilities', () => {
  it('reads what the statement of HAPI says', () => {
    expect(readCapabilities(HAPI, 200)).toEqual({
      ok: true,
      capabilities: {
        software: 'HAPI FHIR Server 8.8.0',
        types: new Map([
          ['Observation', { ...UNSAID, interactions: new Set(['read']) }],
          [
            'Patient',
            {
              interactions: new Set(['create', 'delete', 'read', 'search-type', 'update']),
              searchParameters: new Set(['identifier']),
              conditionalUpdate: true,
              versioning: 'versioned-update',
            },
          ],
        ]),
        systemInteractions: null,
      },
    });
  });

  it('of a minimal statement knows that it does not say', () => {
    expect(readCapabilities({ resourceType: 'CapabilityStatement', fhirVersion: '4.0.0' }, 200)).toEqual({
      ok: true,
      capabilities: { software: null, types: null, systemInteractions: null },
    });
  });

  it('reads the server’s part, in as many pieces as there are', () => {
    const rest = [
      { mode: 'client', resource: [{ type: 'Patient', versioning: 'no-version' }] },
      { mode: 'server' },
      { mode: 'server', resource: [{ type: 'Patient', conditionalUpdate: false }] },
    ];
    expect(readCapabilities({ ...HAPI, rest }, 200)).toMatchObject({
      capabilities: { types: new Map([['Patient', { ...UNSAID, conditionalUpdate: false }]]) },
    });
  });

  it.each([
    { interaction: 'update', versioning: 7, conditionalUpdate: 'yes', searchParam: [{}] },
    { interaction: [{ code: 7 }], versioning: null, conditionalUpdate: null, searchParam: {} },
  ])('takes %j for saying nothing, not for another server', (odd) => {
    expect(wrong(withPatient(odd))).toEqual([]);
    expect(
      wrong({ ...HAPI, rest: [{ mode: 'server', resource: [{ type: 7 }, ...(HAPI.rest[1]?.resource ?? [])] }] }),
    ).toEqual([]);
  });

  it.each([
    [{ name: 'Blaze' }, 'Blaze'],
    // It goes into the log, so of what is said there only what is known is repeated.
    [{ name: 'HAPI FHIR Server of Jane Doe', version: '8.8.0-SNAPSHOT/jane' }, 'HAPI FHIR Server 8.8.0'],
    [{ name: 'medplum', version: 'Jane' }, 'Medplum'],
    [{ name: 'Blaze', version: '1990-01-15' }, 'Blaze'],
    [{ name: 'Jane Doe', version: '8.8.0' }, null],
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

describe('what the server says that it lacks', () => {
  const ALL = {
    interaction: interactions('read', 'update', 'search-type'),
    conditionalUpdate: true,
    versioning: 'versioned',
    searchParam: [{ name: 'identifier' }],
  };

  it.each(['by-id', 'conditional'] as const)('is nothing, of what FHIR_UPDATE=%s needs', (update) => {
    expect(wrong(HAPI, { ...BY_ID, update, deletes: 'delete' })).toEqual([]);
    expect(wrong(withPatient(ALL), { ...BY_ID, update, deletes: 'deactivate' })).toEqual([]);
  });

  // Nearly all elements of a statement are optional: what is not there is not denied.
  it.each<[string, unknown]>([
    ['no rest', { ...HAPI, rest: undefined }],
    ['no server in it', { ...HAPI, rest: HAPI.rest.slice(0, 1) }],
    ['no resource types', { ...HAPI, rest: [{ mode: 'server', resource: [] }] }],
    ['nothing but the type', withPatient({})],
    ['empty lists', withPatient({ interaction: [], searchParam: [] })],
    ...['interaction', 'conditionalUpdate', 'versioning', 'searchParam'].map((element): [string, unknown] => [
      `no ${element}`,
      withPatient({ ...ALL, [element]: undefined }),
    ]),
  ])('is nothing, where the statement has %s', (_, body) => {
    expect(wrong(body, { ...BY_ID, update: 'by-id', deletes: 'delete' }).filter((one) => one !== DELETE)).toEqual([]);
  });

  it.each<[string, Record<string, unknown>]>([
    [UPDATE, { interaction: interactions('read', 'search-type') }],
    [SEARCH, { interaction: interactions('read', 'update') }],
    [SEARCH, { searchParam: [{ name: 'name' }] }],
    [READ, { interaction: interactions('update', 'search-type') }],
    [CONDITIONAL, { conditionalUpdate: false }],
  ])('is told in either mode: %s', (sentence, patient) => {
    expect(wrong(withPatient({ ...ALL, ...patient }))).toEqual([sentence]);
    expect(
      wrong(withPatient({ ...ALL, ...patient }), { ...BY_ID, update: 'conditional', deletes: 'deactivate' }),
    ).toEqual([sentence]);
  });

  it('is the fence, where no versions are kept; FHIR_UPDATE=conditional has none', () => {
    const body = withPatient({ ...ALL, versioning: 'no-version' });
    expect(wrong(body)).toEqual([VERSIONS]);
    expect(wrong(body, { ...BY_ID, update: 'conditional', deletes: 'deactivate' })).toEqual([]);
  });

  it.each(['versioned', 'versioned-update'])(
    'is not the fence, with %s: R4 says no more of If-Match there',
    (versioning) => {
      expect(wrong(withPatient({ ...ALL, versioning }))).toEqual([]);
    },
  );

  it('is the delete, where FHIR_DELETE wants it', () => {
    expect(wrong(withPatient(ALL), { ...BY_ID, update: 'by-id', deletes: 'delete' })).toEqual([DELETE]);
  });

  it.each([
    ['batch', [TRANSACTION]],
    ['transaction', []],
  ])('is the transaction, where %s is what is offered and FHIR_BATCH_SIZE wants it', (code, expected) => {
    const body = { ...HAPI, rest: HAPI.rest.map((rest) => ({ ...rest, interaction: [{ code }] })) };
    expect(wrong(body, { ...BY_ID, batchSize: 2 })).toEqual(expected);
    expect(wrong(body)).toEqual([]);
  });

  it('is all there is to say, where Patient is not listed', () => {
    const rest = [{ mode: 'server', resource: [{ type: 'Observation', conditionalUpdate: false }] }];
    expect(wrong({ ...HAPI, rest })).toEqual(['The FHIR server does not list Patient']);
  });

  it('is asked of each type that is sent, and of no other', () => {
    const rest = [
      {
        mode: 'server',
        resource: [
          { type: 'Patient', ...ALL },
          { type: 'Encounter', ...ALL, conditionalUpdate: false },
          { type: 'Condition', conditionalUpdate: false },
        ],
      },
    ];
    expect(wrong({ ...HAPI, rest }, { ...BY_ID, resources: ['Patient', 'Encounter', 'Observation'] })).toEqual([
      'The FHIR server does not offer conditional update of Encounter',
      'The FHIR server does not list Observation',
    ]);
  });

  it('is told in sentences that say what to do', () => {
    const nothing = {
      interactions: new Set<string>(),
      searchParameters: new Set<string>(),
      conditionalUpdate: false,
      versioning: 'no-version',
    };
    const sentences = lacking(
      {
        software: null,
        types: new Map([
          ['Patient', nothing],
          ['Encounter', nothing],
        ]),
        systemInteractions: new Set(['batch']),
      },
      { update: 'by-id', deletes: 'delete', batchSize: 2, resources: ['Patient', 'Encounter', 'Observation'] },
    );
    expect(sentences).toHaveLength(6 + 6 + 1 + 1);
    for (const sentence of sentences)
      expect(sentence).toMatch(/^The FHIR server .+[:,] .+\. .*(Allow|Switch|Set) .+\.$/);
  });
});
