// `trace`: what became of one transaction, from its rows in the outbox to versions on the FHIR server. Exit status: 1 where it has no event.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { databaseSchema } from '../config/environment.ts';
import { readConfig } from '../config/read.ts';
import { kindOfTable } from '../outbox/delivery/kinds.ts';
import { type TransactionHistory, transactionHistory } from '../outbox/operator/transaction-history.ts';
import { asOperator } from './operator.ts';
import { tableLines } from './output.ts';

export function addTraceCommand(program: Command): void {
  program
    .command('trace')
    .argument('<txid>', 'of the transaction: pg_current_xact_id(), or txid in a log line', txidOf)
    .description('what became of one transaction, event by event (as a login in the role fhir_operator)')
    .addOption(new Option('--json', 'print JSON instead of text').default(false))
    .action(trace);
}

async function trace(txid: number, { json }: { readonly json: boolean }): Promise<void> {
  const config = readConfig(databaseSchema, process.env);
  const history = await asOperator(config, 'trace', (db) => transactionHistory(db, txid));
  process.stdout.write(json ? `${JSON.stringify({ txid, ...history }, null, 2)}\n` : textOf(txid, history));
  if (history.events.length === 0) process.exitCode = 1;
}

function txidOf(text: string): number {
  const txid = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(txid)) return txid;
  throw new InvalidArgumentError('It must be a whole number, as pg_current_xact_id() gives it.');
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
