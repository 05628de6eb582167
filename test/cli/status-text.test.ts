// What `status` says, and by which sign, of each way in which it can stand.
import { describe, expect, it } from 'vitest';
import type { Status } from '../../src/cli/read-status.ts';
import { statusLines, textOf } from '../../src/cli/status-text.ts';

const MB = 1024 ** 2;
const WELL: Status = {
  at: new Date('2026-01-02T12:00:00Z'),
  slot: {
    name: 'fhir_outbox_slot',
    state: 'reserved',
    active: true,
    retainedBytes: 16 * MB,
    confirmedLagBytes: 0,
    safeWalBytes: 20 * 1024 * MB,
  },
  triggersOff: 0,
  outbox: { unprocessed: 0, oldestSeconds: 0 },
  deliveries: {
    lastMinute: 12,
    last: { txid: 744, table: 'patient', fhirId: 'r7', version: '3', secondsAgo: 4.2 },
    failing: [],
  },
  deadLetters: { unresolved: 0, oldestSeconds: 0 },
  verifications: [{ scope: 'all', finishedAt: new Date('2026-01-01T12:00:00Z'), drift: { differs: 0 } }],
  fhir: { answers: true, software: 'HAPI FHIR Server 8.8.0', fault: null },
};

const signs = (status: Status) =>
  Object.fromEntries(statusLines(status, 30).map(({ matter, sign, text }) => [matter, `${sign} ${text}`]));

describe('status', () => {
  it('says of everything that is well that it is', () => {
    expect(textOf(statusLines(WELL, 30))).toBe(
      [
        '✓ Slot          a connector reads fhir_outbox_slot; it keeps 16 MB of WAL, 20 GB more before it is given up (reserved)',
        '✓ Triggers      all are there and enabled',
        '✓ Outbox        nothing waits',
        '✓ Delivered     12 events finished in the last minute; the newest 4 s ago: transaction 744 → Patient/r7 version 3',
        '✓ Dead letters  none',
        '✓ FHIR server   HAPI FHIR Server 8.8.0 answers',
        '✓ Verified      24 h ago, all patients: no drift in what was compared',
        '',
      ].join('\n'),
    );
  });

  it.each([
    [{ state: 'missing' as const, active: false }, /^✗ .* is missing: a connector makes it anew/],
    [{ state: 'lost' as const, active: false }, /^✗ .* is lost/],
    [{ active: false }, /^✗ no connector reads/],
    [{ state: 'unreserved' as const }, /^✗ a connector reads .* \(unreserved\)/],
    [{ state: 'extended' as const, safeWalBytes: 5 * MB }, /^✗ .*5 MB more/],
    [{ safeWalBytes: 5 * MB }, /^✗ .*5 MB more/],
    [{ state: 'extended' as const }, /^✓ .*\(extended\)/],
    [{ state: 'missing' as const, active: true }, /^✗ PostgreSQL makes .* doctor names/],
    [{ state: 'unreserved' as const, safeWalBytes: -16 * MB }, /^✗ .* 0 MB more/],
    [{ safeWalBytes: null }, /^✓ .*without a limit/],
  ])('tells how a slot %o stands', (slot, line) => {
    expect(signs({ ...WELL, slot: { ...WELL.slot, ...slot } }).Slot).toMatch(line);
  });

  it('tells of triggers that are off what that means', () => {
    expect(signs({ ...WELL, triggersOff: 2 }).Triggers).toMatch(/^✗ 2 missing or disabled: .* not seen/);
  });

  it('tells the rest where PostgreSQL did not tell something in time', () => {
    const told = signs({ ...WELL, outbox: null, deliveries: null, deadLetters: null, verifications: null });
    for (const matter of ['Outbox', 'Delivered', 'Dead letters', 'Verified'])
      expect(told[matter]).toMatch(/^✗ PostgreSQL did not tell in time: a lock/);
    expect(told.Slot).toMatch(/^✓ /);
  });

  it.each([
    [{ unprocessed: 1, oldestSeconds: 3 }, '✓ 1 row waits, the oldest for 3 s'],
    [{ unprocessed: 2, oldestSeconds: 31 }, '! 2 rows wait, the oldest for 31 s'],
    [{ unprocessed: 2000, oldestSeconds: 7300 }, '! 2000 rows wait, the oldest for 2 h'],
  ])('tells how an outbox %o stands', (outbox, line) => {
    expect(signs({ ...WELL, outbox }).Outbox).toBe(line);
  });

  it('tells of deliveries that fail, of dead letters, of drift, and of a server that is away', () => {
    const told = signs({
      ...WELL,
      deliveries: { lastMinute: 0, last: null, failing: [{ reason: 'The FHIR server failed.', rows: 3 }] },
      deadLetters: { unresolved: 2, oldestSeconds: 90_000 },
      verifications: [{ scope: 'sample', finishedAt: WELL.at, drift: { differs: 2, missing: 1 } }],
      fhir: { answers: false, software: null, fault: 'The FHIR server cannot be reached.' },
    });
    expect(told).toMatchObject({
      Delivered: '✓ nothing yet',
      Failing: '! 3 rows after a failed try: The FHIR server failed.',
      'Dead letters': '! 2 unresolved, the oldest for 25 h: npm run connector -- dlq list',
      'FHIR server': '✗ The FHIR server cannot be reached.',
      Verified: '! 0 s ago, a sample: 2 differs, 1 missing',
    });
  });
});
