// `status`: how it stands now, on one screen. Exit status: 1 where it has a ✗.
import type { Command } from 'commander';
import { environmentSchema } from '../config/environment.ts';
import { readConfig } from '../config/read.ts';
import { shardOf } from '../config/shard.ts';
import { nameOf } from '../shard.ts';
import { openFhirClient } from './open-fhir-client.ts';
import { asOperator } from './operator.ts';
import { asJson, jsonOption } from './output.ts';
import { readStatus } from './read-status.ts';
import { statusLines, textOf } from './status-text.ts';

/** Who looks wants to know now: a lock on the outbox is not waited for. */
const LONGEST_MS = 5000;

export function addStatusCommand(program: Command): void {
  program
    .command('status')
    .summary('Says how it stands now, on one screen.')
    .description(
      'Says how it stands now: slot, triggers, outbox, deliveries, dead letters and FHIR server. Exit status: 0, or 1 where one of them is ✗. DB_USER has to be in the role fhir_operator.',
    )
    .addOption(jsonOption())
    .action(status);
}

async function status({ json }: { readonly json?: boolean }): Promise<void> {
  const config = readConfig(environmentSchema, process.env);
  const shard = shardOf(config);
  const fhir = openFhirClient(config, { writes: false, deletes: false });
  try {
    const now = await asOperator(
      config,
      'status',
      (db) => readStatus(db, nameOf(config.SLOT_NAME, shard), shard, fhir),
      LONGEST_MS,
    );
    const lines = statusLines(now, config.OUTBOX_LAG_ALERT_SECONDS);
    process.stdout.write(json ? asJson({ ...now, lines }) : textOf(lines));
    if (lines.some(({ sign }) => sign === '✗')) process.exitCode = 1;
  } finally {
    await fhir.close();
  }
}
