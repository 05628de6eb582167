// Prints, after all test files, how many versions each scenario made on the FHIR server against how many commits there were.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

/** Of one scenario, as a line of JSON; several patients have several counts. */
export interface VersionCounts {
  readonly scenario: string;
  readonly counts: readonly { readonly commits: number; readonly versions: number }[];
  /** Why there are more or fewer versions than commits; '' when there are as many. */
  readonly because: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    /** The file that test files append their counts to: they run in processes of their own. */
    versionCounts: string;
  }
}

/** Makes the file, and returns what prints and removes it. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'fhir-versions-'));
  const file = join(folder, 'counts.jsonl');
  project.provide('versionCounts', file);
  return async () => {
    const lines = await readFile(file, 'utf8').catch(() => '');
    await rm(folder, { recursive: true });
    if (lines !== '')
      console.log(
        tableOf(
          lines
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line) as VersionCounts),
        ),
      );
  };
}

function tableOf(rows: readonly VersionCounts[]): string {
  const cells = rows
    .map(({ scenario, counts, because }) => [
      scenario,
      counts.map(({ commits, versions }) => `${commits} → ${versions}`).join(', '),
      because,
    ])
    .toSorted(([a = ''], [b = '']) => a.localeCompare(b, 'en'));
  const table = [['Scenario', 'Commits → versions on the FHIR server, of each patient', ''], ...cells];
  const widths = [0, 1].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  const lines = table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `\n${lines.join('\n')}\n`;
}
