// `status`: how it stands now, on one screen. Exit status: 1 where nobody reads the slot, it is about to be given up, or the FHIR server does not answer.
import { type Command, Option } from 'commander';
import { environmentSchema, readConfig } from '../config.ts';
import { readStatus } from '../status.ts';
import { openFhirClient } from './fhir.ts';
import { asOperator } from './operator.ts';
import { statusLines, textOf } from './status-text.ts';

export function addStatusCommand(program: Command): void {
  program
    .command('status')
    .description(
      'how it stands now: slot, outbox, deliveries, dead letters, FHIR server (as a login in the role fhir_operator)',
    )
    .addOption(new Option('--json', 'print JSON instead of text').default(false))
    .action(status);
}

async function status({ json }: { readonly json: boolean }): Promise<void> {
  const config = readConfig(environmentSchema, process.env);
  const fhir = openFhirClient(config);
  try {
    const now = await asOperator(config, 'status', (db) => readStatus(db, config.SLOT_NAME, fhir));
    const lines = statusLines(now, config.OUTBOX_LAG_ALERT_SECONDS);
    process.stdout.write(json ? `${JSON.stringify({ ...now, lines }, null, 2)}\n` : textOf(lines));
    if (lines.some(({ sign }) => sign === '✗')) process.exitCode = 1;
  } finally {
    await fhir.close();
  }
}
