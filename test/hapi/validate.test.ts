// HAPI's $validate accepts every golden output, and sees what is wrong with Patients that were made wrong on purpose.
import { beforeAll, describe, expect, it, vi } from 'vitest';
import type { Profile } from '../../src/fhir/mapping/mapped-resource.ts';
import type { Patient } from '../../src/fhir/model/resource-types.ts';
import { type Golden, goldens, PROFILES } from '../fhir/golden.ts';
import { plantedFaults, SOUND, US_CORE_PATIENT } from '../fhir/planted-faults.ts';
import { usCoreDefinitions } from '../fhir/us-core-definitions.ts';
import { ask } from './fhir-server.ts';

interface Issue {
  readonly severity: 'fatal' | 'error' | 'warning' | 'information';
  readonly diagnostics?: string;
  readonly location?: readonly string[];
}

/** Those that remain, for which profile, and why nothing is to be done about them. */
const WARNINGS: readonly [string, readonly Profile[]][] = [
  // A narrative is text for people; servers can make one, and ours would go stale with their rules.
  ['dom-6', PROFILES],
  // The terminology that names them is not loaded here.
  ["ValueSet 'http://hl7.org/fhir/us/core/ValueSet/us-core-usps-state' not found", ['us-core']],
  // Texts stay as they are, white space around them included.
  ['should not start or finish with whitespace', PROFILES],
  // A date of birth in the year 1: it is for the hospital to correct. (HAPI says so only without a profile.)
  ['outside the range of reasonable years', ['r4']],
  // HAPI wants an end for a right-to-left mark, which has none.
  ['unterminated bi-di control characters', PROFILES],
];

const PROFILE_URLS: Readonly<Record<Profile, string>> = {
  'us-core': US_CORE_PATIENT,
  r4: 'http://hl7.org/fhir/StructureDefinition/Patient',
};

/** What HAPI says of a resource; what it cannot even read it answers with 400 and the same OperationOutcome. */
async function issuesOf(resource: object, profile: Profile): Promise<readonly Issue[]> {
  const { body } = await ask(
    'POST',
    `Patient/$validate?profile=${encodeURIComponent(PROFILE_URLS[profile])}`,
    resource,
  );
  const { issue } = body as { issue?: readonly Issue[] };
  if (!issue) throw new Error('HAPI did not answer with an OperationOutcome.');
  return issue;
}

const hasResource = (golden: Golden): golden is Golden & { expected: Record<Profile, Patient> } =>
  !('reason' in golden.expected);

const isError = ({ severity }: Issue) => severity === 'error' || severity === 'fatal';
const errorsOf = async (resource: object, profile: Profile) => (await issuesOf(resource, profile)).filter(isError);

beforeAll(async () => {
  for (const definition of usCoreDefinitions()) {
    const { status, body } = await ask('PUT', `StructureDefinition/${definition.id}`, definition);
    expect(status, JSON.stringify(body)).toBeLessThan(300);
  }
  // HAPI remembers for a while what it did not find before.
  const nameless = { ...SOUND, name: undefined };
  await vi.waitUntil(async () => (await errorsOf(nameless, 'us-core')).some(isMissingName), { timeout: 100_000 });
});

const isMissingName = ({ diagnostics = '' }: Issue) =>
  diagnostics.includes('Patient.name: minimum required = 1') && diagnostics.includes(US_CORE_PATIENT);

describe.each(PROFILES)('the golden outputs for FHIR_PROFILE=%s', (profile) => {
  const sendable = [...goldens].map(([file, cases]) => [file, cases.filter(hasResource)] as const);
  const answers = new Map<Golden, readonly Issue[]>();

  beforeAll(async () => {
    for (const each of sendable.flatMap(([, cases]) => cases))
      answers.set(each, await issuesOf(each.expected[profile], profile));
  });

  const isKnown = ({ severity, diagnostics = '' }: Issue) =>
    severity === 'information' ||
    (severity === 'warning' && WARNINGS.some(([warning]) => diagnostics.includes(warning)));

  describe.each(sendable)('of %s', (_, cases) => {
    it.each(cases.map((each) => [each.case, each] as const))('%s draws no unexplained issue', (_, golden) => {
      const unknown = answers.get(golden)?.filter((issue) => !isKnown(issue));
      expect(
        unknown?.map(({ severity, diagnostics, location }) => `${severity}: ${diagnostics} (${location?.[0]})`),
      ).toEqual([]);
    });
  });

  it('draw no warnings but those that are explained, and each of them', () => {
    const warned = [...answers.values()].flat().filter(({ severity }) => severity === 'warning');
    const drawn = WARNINGS.filter(([warning]) => warned.some(({ diagnostics }) => diagnostics?.includes(warning)));
    expect(drawn).toEqual(WARNINGS.filter(([, profiles]) => profiles.includes(profile)));
  });
});

describe('$validate', () => {
  it('finds nothing wrong with a sound Patient', async () => {
    expect(await errorsOf(SOUND, 'us-core')).toEqual([]);
  });

  it.each(plantedFaults('hapi', true))('sees %s', async (_, patient) => {
    expect(await errorsOf(patient, 'us-core')).not.toEqual([]);
  });

  // test/fhir/patient-mapper.test.ts shows that Medplum's validator sees them.
  it.each(plantedFaults('hapi', false))('misses %s', async (_, patient) => {
    expect(await errorsOf(patient, 'us-core')).toEqual([]);
  });
});
