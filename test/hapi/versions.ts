// How many versions a scenario made on HAPI: held against its commits, and reported for the table at the end of the run.
import { appendFile } from 'node:fs/promises';
import { expect, inject } from 'vitest';
import { versionIdsOf } from './fhir-server.ts';
import type { Setting } from './setup.ts';
import type { VersionCounts } from './version-table.ts';

export interface Counted {
  readonly id: number;
  readonly fhirId: string;
  /** Transactions that changed the patient. */
  readonly commits: number;
  /** Where it is another number than that of the commits. */
  readonly versions?: number;
}

/**
 * The patients' transactions in the outbox are so many, and HAPI numbers the versions of their resources without a gap up
 * to so many: one for each commit, unless `because` says why not.
 */
export async function expectVersions(
  { database }: Setting,
  scenario: string,
  patients: readonly Counted[],
  because = '',
): Promise<void> {
  const counts = await Promise.all(
    patients.map(async ({ id, fhirId }) => {
      const { rows } = await database.pool.query<{ commits: string }>(
        'SELECT count(DISTINCT txid) AS commits FROM fhir_outbox WHERE patient_id = $1',
        [id],
      );
      return { commits: Number(rows[0]?.commits), versionIds: await versionIdsOf(fhirId) };
    }),
  );
  const expected = patients.map(({ commits, versions = commits }) => ({
    commits,
    versionIds: Array.from({ length: versions }, (_, n) => String(n + 1)),
  }));
  expect(counts).toEqual(expected);
  const differs = patients.some(({ commits, versions = commits }) => commits !== versions);
  expect(because !== '', 'A reason is given where the numbers differ, and only there.').toBe(differs);
  const line: VersionCounts = {
    scenario,
    counts: counts.map(({ commits, versionIds }) => ({ commits, versions: versionIds.length })),
    because,
  };
  await appendFile(inject('versionCounts'), `${JSON.stringify(line)}\n`);
}
