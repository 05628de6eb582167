// What a verification found, for people and for programs: ids and names of elements, never a patient's data.
import type { DriftKind } from '../metrics/metrics.ts';
import { REPAIRABLE, type TableVerification, type Verification } from '../verify/verify.ts';
import { asJson, tableLines } from './output.ts';

const MEANINGS: Readonly<Record<DriftKind, string>> = {
  missing: 'the linked resource is not on the FHIR server',
  differs: 'the resource differs',
  'never-sent': 'the row has no resource',
  'not-deleted': 'the row is gone, the resource was not told',
  reactivated: 'the row is gone and the resource was given up, but somebody uses it again',
  duplicate: 'a second resource with the primary identifier of the row',
  'only-on-server': 'an identifier of ours that no row has',
};
/** More are for programs. */
const MOST_ROWS = 50;

/** Ends with a line break. */
export function report(result: Verification, settings: { seed: number; repair: boolean }, json: boolean): string {
  const seed = result.scope === 'sample' ? settings.seed : null;
  if (json) return asJson({ ...result, seed });
  const { tables } = result;
  const numbers = (name: string, of: (table: TableVerification) => number | string) => [name, ...tables.map(of)];
  const lines = [
    ...tableLines(
      ['', ...tables.map(({ table }) => table)],
      [
        numbers('rows in the database', ({ rows }) => rows),
        numbers('  with a resource', ({ linked }) => linked),
        numbers('resources on the FHIR server, ours and others', ({ onServer }) => onServer ?? 'not counted'),
        numbers(seed === null ? 'looked at' : `looked at, at random (--seed ${seed})`, ({ checked }) => checked),
        numbers('  the same', ({ same }) => same),
        ...(settings.repair
          ? [numbers('  of these emitted again, and mended', ({ repaired }) => repaired.length)]
          : []),
        numbers('  dead letters, see dlq list', ({ deadLettered }) => deadLettered.length),
        numbers('  on their way all the time', ({ undecided }) => undecided.length),
        numbers('  unreadable', ({ unreadable }) => unreadable.length),
      ],
    ),
    '',
    ...driftLines(tables),
    ...ending(result, settings.repair),
  ];
  return `${lines.join('\n')}\n`;
}

function driftLines(tables: readonly TableVerification[]): string[] {
  const drift = tables.flatMap(({ table, type, drift }) => drift.map((finding) => ({ table, type, ...finding })));
  if (drift.length === 0) return [];
  const more = drift.length - MOST_ROWS;
  return [
    ...tableLines(
      ['Drift', 'Row', 'FHIR resource', 'What'],
      drift
        .slice(0, MOST_ROWS)
        .map((finding) => [
          finding.kind,
          finding.id === null ? null : `${finding.table} ${finding.id}`,
          finding.fhirId && `${finding.type}/${finding.fhirId}`,
          finding.reason ?? (finding.fields.length > 0 ? finding.fields.join(', ') : MEANINGS[finding.kind]),
        ]),
    ),
    ...(more > 0 ? [`… and ${more} more: --json lists all.`] : []),
    '',
  ];
}

function ending({ tables, scope }: Verification, repair: boolean): string[] {
  const drift = tables.flatMap((table) => table.drift);
  const undecided = tables.flatMap((table) => table.undecided);
  const open = undecided.length + tables.flatMap((table) => table.unreadable).length;
  const incomplete =
    open > 0
      ? [`Rows that could not be compared: ${open}.${undecided.length > 0 ? ' Does the connector run?' : ''}`]
      : [];
  if (drift.length === 0) {
    const deadLetters = tables.reduce((sum, { deadLettered }) => sum + deadLettered.length, 0);
    const none = `${scope === 'all' ? 'No drift' : 'No drift in the sample'}${notCompared(deadLetters)}.`;
    return [...incomplete, ...(open === 0 ? [none] : [])];
  }
  const mendable = drift.some(({ kind }) => REPAIRABLE.has(kind));
  const rest = drift.some(({ kind }) => !REPAIRABLE.has(kind));
  return [
    ...incomplete,
    `Drift: ${drift.length}.`,
    ...(mendable && !repair ? ['--repair sends the state of the database again.'] : []),
    ...(rest ? ['What only the FHIR server has is touched by nothing here: decide there what becomes of it.'] : []),
  ];
}

function notCompared(deadLetters: number): string {
  if (deadLetters === 0) return '';
  return deadLetters === 1
    ? '; 1 row is a dead letter and was not compared, see dlq list'
    : `; ${deadLetters} rows are dead letters and were not compared, see dlq list`;
}
