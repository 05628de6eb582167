// What a verification found, for people and for programs: ids and names of elements, never a patient's data.
import type { DriftKind } from '../metrics/metrics.ts';
import type { Finding, Verification } from '../verify/verify.ts';
import { tableLines } from './table.ts';

const MEANINGS: Readonly<Record<DriftKind, string>> = {
  missing: 'the linked resource is not on the FHIR server',
  differs: 'the resource differs',
  'never-sent': 'the patient has no resource',
  'not-deleted': 'the row is gone, the resource was not told',
  reactivated: 'the row is gone and the resource was given up, but somebody uses it again',
  duplicate: 'a second resource with the primary identifier of the patient',
  'only-on-server': 'an identifier of ours that no patient has',
};
/** More are for programs. */
const MOST_ROWS = 50;

/** Ends with a line break. */
export function report(result: Verification, settings: { seed: number; repair: boolean }, json: boolean): string {
  const seed = result.scope === 'sample' ? settings.seed : null;
  if (json) return `${JSON.stringify({ ...result, seed }, null, 2)}\n`;
  const { drift } = result;
  const lines = [
    ...tableLines(
      ['', 'Patients'],
      [
        ['in the database', result.patients],
        ['  with a resource', result.linked],
        ['on the FHIR server, ours and others', result.onServer ?? 'not counted'],
        [seed === null ? 'looked at' : `looked at, at random (--seed ${seed})`, result.checked],
        ['  the same', result.same],
        ...(settings.repair ? [['  of these emitted again, and mended', result.repaired.length]] : []),
        ['  dead letters, see dlq list', result.deadLettered.length],
        ['  on their way all the time', result.undecided.length],
        ['  unreadable', result.unreadable.length],
      ],
    ),
    '',
    ...driftLines(drift),
    ...ending(result, settings.repair),
  ];
  return `${lines.join('\n')}\n`;
}

function driftLines(drift: readonly Finding[]): string[] {
  if (drift.length === 0) return [];
  const more = drift.length - MOST_ROWS;
  return [
    ...tableLines(
      ['Drift', 'Patient', 'FHIR resource', 'What'],
      drift
        .slice(0, MOST_ROWS)
        .map((finding) => [
          finding.kind,
          finding.patient,
          finding.fhirId && `Patient/${finding.fhirId}`,
          finding.reason ?? (finding.fields.length > 0 ? finding.fields.join(', ') : MEANINGS[finding.kind]),
        ]),
    ),
    ...(more > 0 ? [`… and ${more} more: --json lists all.`] : []),
    '',
  ];
}

function ending({ drift, undecided, unreadable, scope }: Verification, repair: boolean): string[] {
  const open = undecided.length + unreadable.length;
  const incomplete =
    open > 0
      ? [`Patients that could not be compared: ${open}.${undecided.length > 0 ? ' Does the connector run?' : ''}`]
      : [];
  if (drift.length === 0)
    return [...incomplete, ...(open === 0 ? [scope === 'all' ? 'No drift.' : 'No drift in the sample.'] : [])];
  const kinds = new Set(drift.map(({ kind }) => kind));
  const mendable = (['missing', 'differs', 'never-sent', 'not-deleted'] as const).some((kind) => kinds.has(kind));
  const rest = (['reactivated', 'duplicate', 'only-on-server'] as const).some((kind) => kinds.has(kind));
  return [
    ...incomplete,
    `Drift: ${drift.length}.`,
    ...(mendable && !repair ? ['--repair sends the state of the database again.'] : []),
    ...(rest ? ['What only the FHIR server has is touched by nothing here: decide there what becomes of it.'] : []),
  ];
}
