// `doctor`: looks at everything that the connector needs and says how it is, with what mends it. Exit status: 0 no fault, 1 a fault, or something that could not be looked at.
import { type Command, Option } from 'commander';
import { databaseClient } from '../config/database.ts';
import { environmentSchema } from '../config/environment.ts';
import { readConfig } from '../config/read.ts';
import { shardOf } from '../config/shard.ts';
import { examine } from '../doctor/examine.ts';
import type { Finding, Verdict } from '../doctor/finding.ts';
import { openFhirClient } from './open-fhir-client.ts';

const SIGNS: Readonly<Record<Verdict, string>> = { ok: '✓', warning: '!', fault: '✗', unknown: '?' };

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('look at database, slot and FHIR server as `run` would find them, and say what mends what is wrong')
    .addOption(new Option('--json', 'print JSON instead of text').default(false))
    .action(doctor);
}

async function doctor({ json }: { readonly json: boolean }): Promise<void> {
  const config = readConfig(environmentSchema, process.env);
  const shard = shardOf(config);
  const fhir = openFhirClient(config, { writes: true, deletes: config.FHIR_DELETE === 'delete' });
  try {
    const findings = await examine({
      client: databaseClient(config),
      shard,
      slot: config.SLOT_NAME,
      publication: config.PUBLICATION_NAME,
      fhir,
      needs: {
        update: config.FHIR_UPDATE,
        deletes: config.FHIR_DELETE,
        batchSize: config.FHIR_BATCH_SIZE,
        resources: config.FHIR_RESOURCES,
      },
    });
    process.stdout.write(json ? `${JSON.stringify(findings, null, 2)}\n` : textOf(findings));
    if (findings.some(({ verdict }) => verdict === 'fault' || verdict === 'unknown')) process.exitCode = 1;
  } finally {
    await fhir.close();
  }
}

function textOf(findings: readonly Finding[]): string {
  const lines = findings.flatMap(({ check, verdict, found, fix }) => [
    `${SIGNS[verdict]} ${check}: ${found}`,
    ...(fix ? [`    → ${fix.say}`] : []),
    ...(fix?.sql ? fix.sql.split('\n').map((line) => `      ${line}`) : []),
  ]);
  const faults = findings.filter(({ verdict }) => verdict === 'fault').length;
  const warnings = findings.filter(({ verdict }) => verdict === 'warning').length;
  const counted = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`;
  const unseen = findings.filter(({ verdict }) => verdict === 'unknown').length;
  const notSeen = unseen === 0 ? '' : `, ${unseen} could not be looked at`;
  return `${lines.join('\n')}\n\n${counted(faults, 'fault')}, ${counted(warnings, 'warning')}${notSeen}.\n`;
}
