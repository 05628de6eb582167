#!/usr/bin/env node
// The command line: each command reads its configuration, does its work and ends with a status a script can use.
import { constants } from 'node:os';
import { Command } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import { addBackfillCommand } from './cli/backfill.ts';
import { addDlqCommands } from './cli/dlq.ts';
import { addDoctorCommand } from './cli/doctor.ts';
import { addMigrateCommand } from './cli/migrate.ts';
import { addRunCommand } from './cli/run.ts';
import { addStatusCommand } from './cli/status.ts';
import { addTraceCommand } from './cli/trace.ts';
import { addVerifyCommand } from './cli/verify.ts';
import { keepMessagesOut, lastWords } from './privacy/last-words.ts';

keepMessagesOut();

const program = new Command('fhir-connector')
  .description(`${packageJson.description}.`)
  .version(packageJson.version, '-V, --version', 'Prints the version.')
  .helpOption('-h, --help', 'Prints this help.')
  .helpCommand('help [command]', 'Prints the help of a command.')
  .addHelpText('after', '\nSettings are environment variables: see Configuration in README.md.')
  .showHelpAfterError('(--help says what there is)');

addRunCommand(program);
addMigrateCommand(program);
addDoctorCommand(program);
addStatusCommand(program);
addTraceCommand(program);
addDlqCommands(program);
addBackfillCommand(program);
addVerifyCommand(program);

// As where SIGPIPE ends a program: whoever read the output (head, a pager) has seen enough. `run` writes its log by itself.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(128 + constants.signals.SIGPIPE);
});

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(lastWords(error));
  process.exitCode = 1;
}
