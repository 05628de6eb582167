// `migrate`: brings the schema up to date, and says which files it applied.
import type { Command } from 'commander';
import { databaseClient } from '../config/database.ts';
import { migrateSchema } from '../config/environment.ts';
import { readConfig } from '../config/read.ts';
import { migrate } from '../schema/migrate.ts';
import { connectWhenItAnswers } from './connect-when-it-answers.ts';
import { say } from './output.ts';

export function addMigrateCommand(program: Command): void {
  program
    .command('migrate')
    .summary('Brings the schema of the database up to date.')
    .description(
      'Brings the schema of the database up to date; what is up to date stays as it is. DB_USER has to be the owner of the tables.',
    )
    .option('--sample', 'Inserts the sample patients, too: never into a real database.')
    .action(migrateCommand);
}

/** Throws a FatalError on what waiting cannot mend. */
async function migrateCommand({ sample = false }: { readonly sample?: boolean }): Promise<void> {
  const config = readConfig(migrateSchema, process.env);
  const client = await connectWhenItAnswers({
    ...databaseClient(config),
    application_name: 'fhir-connector migrate',
  });
  try {
    await migrate(client, { sample, resources: config.FHIR_RESOURCES }, say);
    say('The schema is up to date.');
  } finally {
    await client.end();
  }
}
