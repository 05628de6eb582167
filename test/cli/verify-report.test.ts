// The last line of a verification: what people take home from it.
import { expect, test } from 'vitest';
import { report } from '../../src/cli/verify-report.ts';
import type { VerificationScope } from '../../src/metrics/metrics.ts';
import type { TableVerification } from '../../src/verify/verify.ts';

function lastLine(scope: VerificationScope, ...tables: Partial<TableVerification>[]): string | undefined {
  const nothing: TableVerification = {
    table: 'patient',
    type: 'Patient',
    rows: 9,
    linked: 9,
    onServer: 9,
    checked: 9,
    same: 9,
    deadLettered: [],
    undecided: [],
    unreadable: [],
    drift: [],
    repaired: [],
  };
  const result = { scope, tables: tables.map((table) => ({ ...nothing, ...table })) };
  return report(result, { seed: 1, repair: false }, false).trimEnd().split('\n').at(-1);
}

test('says that nothing drifted, of all or of a sample', () => {
  expect(lastLine('all', {})).toBe('No drift.');
  expect(lastLine('sample', {})).toBe('No drift in the sample.');
});

test('says of dead letters that they were not compared', () => {
  expect(lastLine('all', { deadLettered: [1, 2, 3, 4] }, { table: 'pulse', deadLettered: [1] })).toBe(
    'No drift; 5 rows are dead letters and were not compared, see dlq list.',
  );
  expect(lastLine('sample', { deadLettered: [1] })).toBe(
    'No drift in the sample; 1 row is a dead letter and was not compared, see dlq list.',
  );
});

test('does not say that nothing drifted where rows could not be compared', () => {
  expect(lastLine('all', { undecided: [1], deadLettered: [2] })).toBe(
    'Rows that could not be compared: 1. Does the connector run?',
  );
});
