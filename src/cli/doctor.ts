// `doctor`: looks at everything that the connector needs and says how it is, with what mends it. Exit status: 0 no fault, 1 a fault, or something that could not be looked at.
import type { Command } from 'commander';
import { environmentSchema } from '../config/environment.ts';
import { readConfig } from '../config/read.ts';
import { slotSettings } from '../config/slot.ts';
import { examine } from '../doctor/examine.ts';
import type { Finding, Verdict } from '../doctor/finding.ts';
import { openFhirClient } from './open-fhir-client.ts';
import { asJson, counted, jsonOption } from './output.ts';

const SIGNS: Readonly<Record<Verdict, string>> = { ok: '✓', warning: '!', fault: '✗', unknown: '?' };

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .summary('Says whether `run` has all that it needs, and what mends what is wrong.')
    .description(
      'Looks at PostgreSQL, the slot and the FHIR server as `run` would find them, and says what mends what is wrong. It changes nothing. Exit status: 0, or 1 where there is a fault or something could not be looked at. DB_USER has to be the login of the connector.',
    )
    .addOption(jsonOption())
    .action(doctor);
}

async function doctor({ json }: { readonly json?: boolean }): Promise<void> {
  const config = readConfig(environmentSchema, process.env);
  const slot = slotSettings(config);
  const fhir = openFhirClient(config, { writes: true, deletes: config.FHIR_DELETE === 'delete' });
  try {
    const findings = await examine({
      slot,
      fhir,
      needs: {
        update: config.FHIR_UPDATE,
        deletes: config.FHIR_DELETE,
        batchSize: config.FHIR_BATCH_SIZE,
        resources: config.FHIR_RESOURCES,
      },
    });
    process.stdout.write(json ? asJson(findings) : textOf(findings));
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
  const unseen = findings.filter(({ verdict }) => verdict === 'unknown').length;
  const notSeen = unseen === 0 ? '' : `, ${unseen} could not be looked at`;
  return `${lines.join('\n')}\n\n${counted(faults, 'fault')}, ${counted(warnings, 'warning')}${notSeen}.\n`;
}
