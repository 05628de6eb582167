// docs/adding-a-table.md, done word by word in a copy of the program: at its end an allergy is on the FHIR server.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { connectorEnvironment } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { PATIENCE } from '../support/patience.ts';
import { addPatient } from '../support/patients.ts';
import { blocksOf, read, sectionOf } from './document.ts';

const PAGE = 'docs/adding-a-table.md';
const COPIED = ['src', 'sql', 'test', 'bench', 'demo', 'grafana', 'package.json', 'tsconfig.json', 'vitest.config.ts'];

let database: TestDatabase;
let fhir: FhirLedger;
let program: string;

beforeAll(async () => {
  database = await createDatabase();
  fhir = await FhirLedger.start();
  program = mkdtempSync(join(tmpdir(), 'fhir-connector-table-'));
  for (const name of COPIED) cpSync(name, join(program, name), { recursive: true });
  symlinkSync(resolve('node_modules'), join(program, 'node_modules'));
});

afterAll(async () => {
  await fhir.stop();
  await database.drop();
  rmSync(program, { recursive: true });
});

/** The files that the page shows, by their paths. */
function files(): [string, string][] {
  return [...read(PAGE).matchAll(/<!-- file: (\S+) -->\n\n```\w+\n(.*?)```/gs)].map(([, path = '', text = '']) => [
    path,
    text,
  ]);
}

/** As a user's shell, in the copy. */
function sh(script: string, environment: Record<string, string> = {}) {
  return promisify(execFile)('sh', ['-ec', `${script}\n`], {
    cwd: program,
    env: { PATH: `${dirname(process.execPath)}:${process.env.PATH}`, ...environment },
  }).catch((error: Error & { stdout: string; stderr: string }) => {
    throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`);
  });
}

it('the page leads from an empty table to the resource on the server', async () => {
  const [table = ''] = blocksOf(read(PAGE), 'sql');
  await database.pool.query(table);
  expect(files().map(([path]) => path)).toHaveLength(4);
  for (const [path, text] of files()) {
    mkdirSync(dirname(join(program, path)), { recursive: true });
    writeFileSync(join(program, path), text);
  }
  for (const block of blocksOf(sectionOf(PAGE, 'The test'), 'sh')) await sh(block);

  const environment = connectorEnvironment(database, fhir.url);
  const [switchOn = ''] = blocksOf(sectionOf(PAGE, 'Switching it on'), 'sh');
  const { stdout } = await sh(switchOn, environment);
  expect(stdout).toContain('Changes of allergy are sent from now on; backfill sends what is there already.');
  const { rows } = await database.pool.query(
    `SELECT (SELECT bool_and(has_table_privilege('fhir_app', 'allergy', may))
               FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS may) AS work,
            has_sequence_privilege('fhir_app', 'allergy_id_seq', 'USAGE') AS numbers`,
  );
  expect(rows).toEqual([{ work: true, numbers: true }]);

  const connector = spawn(process.execPath, ['src/main.ts', 'run'], {
    cwd: program,
    env: { ...environment, FHIR_RESOURCES: 'Patient,AllergyIntolerance' },
    stdio: 'ignore',
  });
  try {
    await addPatient(database, 'ALLERGIC');
    const [insert = ''] = blocksOf(sectionOf(PAGE, 'Switching it on'), 'sql');
    await database.pool.query(insert);
    const allergies = () =>
      [...fhir.resources.values()].filter(({ resourceType }) => resourceType === 'AllergyIntolerance');
    await vi.waitFor(() => expect(allergies()).toHaveLength(1), PATIENCE);
    expect(allergies()).toMatchObject([
      {
        criticality: 'high',
        code: { text: 'Penicillin' },
        patient: { reference: expect.stringMatching(/^Patient\//) },
      },
    ]);
    await database.pool.query('DELETE FROM public.allergy');
    await vi.waitFor(
      () => expect(allergies()[0]).toMatchObject({ verificationStatus: { coding: [{ code: 'entered-in-error' }] } }),
      PATIENCE,
    );
    expect(allergies()[0]).not.toHaveProperty('clinicalStatus');
  } finally {
    connector.kill('SIGTERM');
    await once(connector, 'exit');
  }
}, 120_000);
