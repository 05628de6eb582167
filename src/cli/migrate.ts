// `migrate`: brings the schema up to date, and says which files it applied.
import type { Command } from 'commander';
import type pg from 'pg';
import { databaseClient } from '../config/database.ts';
import { migrateSchema } from '../config/environment.ts';
import { readConfig } from '../config/read.ts';
import { FatalError } from '../fatal.ts';
import { pause } from '../pause.ts';
import { PostgresClient } from '../postgres/client.ts';
import { diagnose } from '../replication/server/diagnosis.ts';
import { migrate } from '../schema/migrate.ts';
import { say } from './output.ts';

const RETRY_MS = 1000;

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

/** Waits for PostgreSQL, a line a second; throws a FatalError on what waiting cannot mend. */
async function migrateCommand({ sample = false }: { readonly sample?: boolean }): Promise<void> {
  const config = readConfig(migrateSchema, process.env);
  const client = await connect(databaseClient(config));
  try {
    await migrate(client, { sample, resources: config.FHIR_RESOURCES }, say);
    say('The schema is up to date.');
  } finally {
    await client.end();
  }
}

async function connect(config: pg.ClientConfig): Promise<pg.Client> {
  for (;;) {
    const client = new PostgresClient({ ...config, application_name: 'fhir-connector migrate' });
    try {
      await client.connect();
      return client;
    } catch (error) {
      const { kind, sentence } = diagnose(error);
      if (kind === 'fatal') throw new FatalError(sentence);
      say(sentence);
      await pause(RETRY_MS, new AbortController().signal);
    }
  }
}
