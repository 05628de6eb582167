// What `dlq` tells people: a table, one dead letter in full, and what became of those that were replayed or discarded.
import { issueText } from '../fhir/faults/operation-outcome.ts';
import type {
  DeadLetter,
  DeadLetterDetails,
  DeadLetterList,
  Replay,
  Resolution,
  SourceRow,
} from '../outbox/operator/dead-letters.ts';
import { counted, tableLines } from './output.ts';

/** On a narrower terminal lines wrap: of the reason, which comes last, something must be left. */
const LEAST_WIDTH = 100;
const NO_REASON = 'written by an earlier connector: see error_text in fhir_dlq';

/** `width`: of the terminal, in characters; what is longer is cut there. Null: nothing is cut. */
export function listText(list: DeadLetterList, state: string, width: number | null): string {
  const { deadLetters, total, counts, reasons } = list;
  const label = state === 'all' ? '' : `${state} `;
  if (total === 0) return `There are no ${label}dead letters.\n`;
  const showsState = state !== 'unresolved';
  const header = ['ID', 'Row', 'Event', 'HTTP', 'Attempts', 'Failed', ...(showsState ? ['State'] : []), 'Reason'];
  const rows = deadLetters.map((letter) => [
    letter.id,
    rowText(letter.source),
    letter.operation,
    letter.httpStatus,
    letter.attempts,
    timeText(letter.failedAt),
    ...(showsState ? [letter.state] : []),
    letter.reason ?? NO_REASON,
  ]);
  const room = width === null ? Number.POSITIVE_INFINITY : Math.max(width, LEAST_WIDTH);
  const cut = (line: string) => (line.length <= room ? line : `${line.slice(0, room - 1)}…`);
  const shown =
    deadLetters.length < total
      ? `The oldest ${deadLetters.length} of ${total} ${label}dead letters; --limit shows more.`
      : `${counted(total, `${label}dead letter`)}.`;
  const others = Object.entries(counts).filter(([name, number]) => number > 0 && name !== state);
  return `${[
    ...tableLines(header, rows).map(cut),
    '',
    shown,
    ...reasons.map((one) => cut(`  ${one.count} × ${one.reason ?? NO_REASON}`)),
    ...(others.length > 0 ? [`By state: ${others.map(([name, number]) => `${number} ${name}`).join(', ')}.`] : []),
  ].join('\n')}\n`;
}

export function detailsText(letter: DeadLetterDetails): string {
  const lines: [string, string | number | null | undefined][] = [
    ['Dead letter', letter.id],
    ['State', stateText(letter)],
    ['Row', rowText(letter.source)],
    ['Patient', letter.patientId],
    ['Event', `${letter.operation} of row ${letter.recordId} of ${letter.table}`],
    ['Outbox row', letter.outboxId],
    ['Transaction', letter.txid],
    ['Revision', letter.revision],
    ['Failed', timeText(letter.failedAt)],
    ['Attempts', letter.attempts],
    ['HTTP status', letter.httpStatus],
    ['Reason', letter.reason ?? NO_REASON],
    ...letter.issues.map((issue): [string, string] => ['Issue', issueText(issue)]),
    [
      'Waits for',
      letter.waitsFor && `${rowText(letter.waitsFor)}: sent again by itself when that is on the FHIR server`,
    ],
    ['Replay', letter.replay && replayText(letter.replay)],
    ['Why', letter.resolutionReason],
    ['Others', letter.others.length > 0 ? `also unresolved of this row: ${letter.others.join(', ')}` : null],
  ];
  const text = lines
    .filter(([, value]) => value !== null && value !== undefined && value !== '')
    .map(([name, value]) => `${name.padEnd(13)}${String(value).replace(/\p{Cc}+/gu, ' ')}`);
  text.push(
    '',
    'The payload and the words of the server are patient data: docs/patient-data.md says how to read them.',
  );
  return `${text.join('\n')}\n`;
}

/** What was done, and each id for which nothing was. */
export function resolutionsText(done: 'replayed' | 'discarded', resolutions: readonly Resolution[], stillOpen: number) {
  const resolved = resolutions.filter(({ result }) => result === done);
  const rows = new Set(resolved.map(({ source }) => rowText(source)));
  const lines: string[] = [];
  if (done === 'discarded' && resolved.length > 0)
    lines.push(`Discarded ${counted(resolved.length, 'dead letter')}. The FHIR server keeps what it has.`);
  if (done === 'replayed' && resolved.length > 0)
    lines.push(
      `Replayed ${counted(resolved.length, 'dead letter')} of ${counted(rows.size, 'row')}: the current state is in the outbox, and a running connector delivers it now.`,
      'If one is refused again, that makes a new dead letter; `dlq show ID` tells how it went.',
    );
  if (stillOpen > 0)
    lines.push(`${counted(stillOpen, 'more dead letter')} of these rows will be superseded by that delivery.`);
  const sentences: Partial<Record<Resolution['result'], string>> = {
    resolved: 'was resolved before',
    'not found': 'does not exist',
    'no row': 'names no row that is sent, so there is no state to send: look at its outbox row, and discard it',
  };
  for (const { id, result } of resolutions)
    if (sentences[result]) lines.push(`Dead letter ${id} ${sentences[result]}.`);
  return `${lines.join('\n')}\n`;
}

function stateText({ state, resolvedAt, resolvedBy }: DeadLetter): string {
  if (resolvedAt === null) return state;
  return `${state} ${timeText(resolvedAt)} by ${resolvedBy ?? (state === 'superseded' ? 'a later delivery' : 'hand')}`;
}

function rowText(source: SourceRow | null): string | null {
  return source && `${source.table} ${source.id}`;
}

function replayText({ outboxId, state, type, fhirId, version, deadLetterId, lastError }: Replay): string {
  const row = `outbox row ${outboxId}`;
  switch (state) {
    case 'delivered':
      return `${row}, delivered${fhirId === null ? '' : ` as ${type}/${fhirId}, version ${version}`}`;
    case 'dead letter':
      return `${row}, refused again: dead letter ${deadLetterId}`;
    case 'superseded':
      return `${row}, superseded by a newer state`;
    case 'removed':
      return `${row}, finished and removed since`;
    case 'waiting':
      return `${row}, not delivered yet${lastError === null ? '' : `: ${lastError}`}`;
  }
}

function timeText(time: Date): string {
  return time.toISOString().replace('T', ' ').replace(/\.\d+/, '');
}
