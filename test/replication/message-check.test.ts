// Messages of pgoutput that cannot be right are errors: none of them may be acknowledged, and no row left out.
import { describe, expect, it } from 'vitest';
import type { Lsn } from '../../src/postgres/lsn.ts';
import { MessageCheck } from '../../src/replication/stream/message-check.ts';

const COMMIT_LSN = 1000n;
const END_LSN = 1048n as Lsn;

const int = (value: number, bytes: number) => {
  const buffer = Buffer.alloc(bytes);
  if (bytes === 2) buffer.writeInt16BE(value);
  else buffer.writeInt32BE(value);
  return buffer;
};
const lsn = (value: bigint) => {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64BE(value);
  return buffer;
};
const text = (value: string | Buffer) => {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([Buffer.from('t'), int(bytes.length, 4), bytes]);
};
const bytesOf = (...parts: (string | Buffer)[]) => Buffer.concat(parts.map((part) => Buffer.from(part as string)));

const BEGIN = bytesOf('B', lsn(COMMIT_LSN), Buffer.alloc(8), int(7, 4));
const RELATION = bytesOf('R', int(16_400, 4), 'public\0fhir_outbox\0d', int(2, 2), Buffer.alloc(20));
const row = (...columns: Buffer[]) => bytesOf('I', int(16_400, 4), 'N', int(columns.length, 2), ...columns);
const NULL = Buffer.from('n');
const ROW = row(text('Müller'), NULL);
const commit = (at = COMMIT_LSN, end: bigint = END_LSN) => bytesOf('C\0', lsn(at), lsn(end), Buffer.alloc(8));
const message = (at: bigint) => bytesOf('M\0', lsn(at), 'prefix\0', int(1, 4), 'x');

function read(...messages: Buffer[]): void {
  const reader = new MessageCheck();
  for (const each of messages) reader.check(each, END_LSN);
}

describe('what pgoutput sends', () => {
  it('is read: transactions, one after the other, with their rows, and messages', () => {
    read(BEGIN, RELATION, ROW, row(NULL, text('')), commit(), BEGIN, ROW, commit(), message(END_LSN));
  });

  const wrong: [string, Buffer[]][] = [
    ['a begin in a transaction', [BEGIN, BEGIN]],
    ['a begin of another length', [bytesOf(BEGIN, '\0')]],
    ['a commit without a begin', [commit()]],
    ['a commit of another length', [BEGIN, bytesOf(commit(), '\0')]],
    ['a commit of another transaction', [BEGIN, commit(COMMIT_LSN + 1n)]],
    ['a commit that ends elsewhere than its frame', [BEGIN, commit(COMMIT_LSN, END_LSN + 1n)]],
    ['a message that was written elsewhere than its frame', [message(END_LSN + 1n)]],
    ['a row outside of a transaction', [RELATION, ROW]],
    ['a row of an unknown relation', [BEGIN, ROW]],
    ['a row with fewer columns', [BEGIN, RELATION, row(NULL)]],
    ['a row with more columns', [BEGIN, RELATION, row(NULL, NULL, NULL)]],
    ['a row that is cut', [BEGIN, RELATION, ROW.subarray(0, -2)]],
    ['a row that is longer', [BEGIN, RELATION, bytesOf(ROW, 'n')]],
    ['a column that is binary', [BEGIN, RELATION, row(NULL, bytesOf('b', int(1, 4), 'x'))]],
    ['a column that is not sent', [BEGIN, RELATION, row(NULL, Buffer.from('u'))]],
    ['a column that ends behind the row', [BEGIN, RELATION, row(NULL, bytesOf('t', int(-1, 4)))]],
    ['a column that is no UTF-8', [BEGIN, RELATION, row(text(Buffer.of(0xc3)), NULL)]],
    ['a relation without its end', [RELATION.subarray(0, 12)]],
  ];

  it.each(wrong)('is an error where it is %s', (_, messages) => {
    expect(() => read(...messages)).toThrow();
  });
});
