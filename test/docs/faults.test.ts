// docs/faults.md is made from the fault table and from what the connector says about PostgreSQL.
// After a change of the code: npm run snapshots

import { expect, test } from 'vitest';
import { type Cause, FAULT_TABLE, type FaultRow, type Operation } from '../../src/fhir/faults/fault-table.ts';
import { type Diagnosis, diagnose } from '../../src/replication/server/diagnosis.ts';
import { TLS_FAULTS } from '../../src/replication/server/tls-faults.ts';
import { pathOf, read, table, withGenerated } from './document.ts';

const OPERATIONS: Readonly<Record<Operation, string>> = {
  'conditional-put': 'PUT by identifier',
  'put-by-id': 'PUT by id',
  transaction: 'transaction Bundle',
  'delete-by-id': 'DELETE by id',
  search: 'search',
  read: 'read',
  probe: 'probe',
  metadata: 'metadata',
};

const CAUSES: Readonly<Record<Cause, string>> = {
  timeout: 'none in time',
  tls: 'none',
  unreachable: 'none',
  network: 'none, or a part',
  token: 'nothing was asked',
  'token-refused': 'nothing was asked',
  'no-token-endpoint': 'nothing was asked',
  'insufficient-scope': '403, `insufficient_scope`',
  'not-fhir': 'no FHIR',
  'not-r4': 'another version',
  'several-found': 'several matches',
  'not-several': '412, and no several matches',
  'another-resource': "somebody else's resource",
  'search-ignored': 'wrong matches',
  'bundle-unreadable': 'not of each PUT',
  'answer-too-large': 'too large',
};

function whatItDoes({ disposition, attempt, stopsSends }: FaultRow): string {
  switch (disposition) {
    case 'hold':
      return '**Hold**';
    case 'dead-letter':
      return '**Dead letter**';
    case 'halve':
      return '**Halve**';
    case 'conflict':
      return '**Look**: read it, then write again';
    case 'gone':
      return '**Look**: bring it back, or first contact';
    case 'retry': {
      const counts = { counts: 'counts', never: 'never counts', 'if-server-answers': 'counts if the server works' };
      return `**Retry**, ${counts[attempt]}${stopsSends ? '; **stop sends**' : ''}`;
    }
  }
}

function faults(): string {
  const rows = FAULT_TABLE.map((row) => [
    `\`${row.code}\``,
    row.on === 'any' ? 'any' : row.on.map((operation) => OPERATIONS[operation]).join(', '),
    typeof row.match === 'string'
      ? CAUSES[row.match]
      : [row.match.status.join(', '), ...(row.match.hapi ? [`with ${row.match.hapi.join(', ')}`] : [])].join(' '),
    row.when,
    whatItDoes(row),
    row.sentence,
  ]);
  return table(['Code', 'Asked', 'Answer', 'When', 'The connector', 'What it tells the operator'], rows);
}

/** The codes are the keys of one table in the source; what belongs to each is asked of the function. */
function postgres(): string {
  const codes = [...read('src/replication/server/diagnosis.ts').matchAll(/^ {2}'?([0-9A-Z_]+)'?: \{/gm)].map(
    (match) => match[1] ?? '',
  );
  expect(codes.length).toBeGreaterThan(10);
  const kinds: Readonly<Record<Diagnosis['kind'], string>> = {
    fatal: 'At the start: **ends** with status 1. Later: tries again every second',
    wait: '**Tries again** every second',
  };
  const rows = codes.map((code) => {
    const { kind, sentence } = diagnose(Object.assign(new Error(), { code }));
    return [`\`${code}\``, kinds[kind], sentence];
  });
  const tls = TLS_FAULTS.map(({ codes, kind, sentence }) => [
    codes.map((code) => (code.startsWith('ALERT') ? `\`…${code}\`` : `\`${code}\``)).join(', '),
    kinds[kind],
    sentence,
  ]);
  const noTls = diagnose(new Error('The server does not support SSL connections'));
  const other = diagnose(Object.assign(new Error(), { code: '…' }));
  return table(
    ['Code', 'The connector', 'What it tells the operator'],
    [...rows, ...tls, ['no TLS', kinds[noTls.kind], noTls.sentence], ['any other', kinds[other.kind], other.sentence]],
  );
}

test('docs/faults.md holds the fault table and the diagnoses as they are in the code', async () => {
  const page = withGenerated('docs/faults.md', { faults: faults(), postgres: postgres() });
  await expect(page).toMatchFileSnapshot(pathOf('docs/faults.md'));
});
