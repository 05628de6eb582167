// `trace`: what became of one transaction, from its rows in the outbox to versions on the FHIR server. Exit status: 1 where it has no event.
import { Argument, type Command } from 'commander';
import { databaseSchema } from '../config/environment.ts';
import { readConfig } from '../config/read.ts';
import { kindOfTable } from '../outbox/delivery/kinds.ts';
import { type TransactionHistory, transactionHistory } from '../outbox/operator/transaction-history.ts';
import { asOperator } from './operator.ts';
import { asJson, jsonOption, tableLines } from './output.ts';
import { wholeNumber } from './whole-number.ts';

export function addTraceCommand(program: Command): void {
  program
    .command('trace')
    .addArgument(
      new Argument(
        '<txid>',
        'Of the transaction: what pg_current_xact_id() gave in it, or txid in a log line.',
      ).argParser(wholeNumber),
    )
    .summary('Tells what became of one transaction.')
    .description(
      'Tells what became of one transaction, event by event. Exit status: 0, or 1 where it has no event. DB_USER has to be in the role fhir_operator.',
    )
    .addOption(jsonOption())
    .action(trace);
}

async function trace(txid: number, { json }: { readonly json?: boolean }): Promise<void> {
  const config = readConfig(databaseSchema, process.env);
  const history = await asOperator(config, 'trace', (db) => transactionHistory(db, txid));
  process.stdout.write(json ? asJson({ txid, ...history }) : textOf(txid, history));
  if (history.events.length === 0) process.exitCode = 1;
}

function textOf(txid: number, { status, events }: TransactionHistory): string {
  if (events.length === 0) return `${withoutEvents(txid, status)}\n`;
  const states = Map.groupBy(events, ({ state }) => state);
  const traces = new Set(events.map(({ traceId }) => traceId).filter((traceId) => traceId !== null));
  const rows = events.map((event) => [
    event.outboxId,
    `${event.operation} of ${event.table} ${event.recordId}`,
    event.patientId,
    event.revision,
    event.deadLetterId === null
      ? event.state
      : `${event.state} ${event.deadLetterId}${event.resolution === null ? '' : `, ${event.resolution}`}`,
    event.fhirId === null
      ? null
      : `${kindOfTable(event.table)?.type ?? event.table}/${event.fhirId}${event.version === null ? '' : ` version ${event.version}`}`,
    event.finishedAt?.toISOString(),
    event.attempts,
    event.reason,
  ]);
  const lines = [
    ...tableLines(['Outbox', 'Event', 'Patient', 'Revision', 'State', 'FHIR', 'Finished', 'Attempts', 'Reason'], rows),
    '',
    `Transaction ${txid}, begun ${events[0]?.startedAt.toISOString()}: ${[...states].map(([state, of]) => `${of.length} ${state === 'dead letter' && of.length > 1 ? 'dead letters' : state}`).join(', ')}.`,
    ...(traces.size === 0 ? [] : [`The application's trace: ${[...traces].join(', ')}.`]),
  ];
  return `${lines.join('\n')}\n`;
}

function withoutEvents(txid: number, status: TransactionHistory['status']): string {
  if (status === 'in progress')
    return `Transaction ${txid} is still open: its events can be seen once it has committed.`;
  if (status === 'aborted') return `Transaction ${txid} was rolled back: none of its changes came about.`;
  return `The outbox has no event of transaction ${txid}: it changed no patient, no trigger saw its changes, or its rows were older than RETENTION_DAYS and are removed.`;
}
