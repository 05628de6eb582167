// Which of PostgreSQL's words may be repeated: those of the program's own SQL, and no others.
import { describe, expect, it } from 'vitest';
import { toldWords } from '../../src/privacy/told-words.ts';

const RAISED = { file: 'pl_exec.c', code: 'P0001' };

describe('the words of PostgreSQL', () => {
  it.each([
    ['PL/pgSQL function inline_code_block line 12 at RAISE', 'a block of a migration'],
    ['PL/pgSQL function fhir_watch(text) line 9 at RAISE', 'a function that a migration made'],
    ['PL/pgSQL-Funktion public.fhir_watch(text) Zeile 9 bei RAISE\nSQL-Anweisung »…«', 'the same, in another language'],
  ])('are repeated of %s: %s', (where) => {
    expect(toldWords({ ...RAISED, where, message: 'The table pulse cannot be watched' })).toBe(
      'The table pulse cannot be watched (SQLSTATE P0001)',
    );
  });

  it.each([
    ['42501', 'aclchk.c', 'must be owner of table patient'],
    ['55000', 'publicationcmds.c', '"wal_level" is insufficient to publish logical changes'],
  ])('are repeated where they are about a right or a setting: %s', (code, file, message) => {
    expect(toldWords({ code, file, message })).toBe(`${message} (SQLSTATE ${code})`);
  });

  it.each([
    {
      ...RAISED,
      where: 'PL/pgSQL function check_patient() line 3 at RAISE\nPL/pgSQL function inline_code_block line 1',
    },
    // Of the earlier connector, or of an application that calls its functions so.
    { ...RAISED, where: 'PL/pgSQL function fhir_outbox_write_notify() line 1 at RAISE' },
    { ...RAISED, where: undefined },
    { code: '42501', file: 'pl_exec.c', where: 'PL/pgSQL function check_patient() line 3 at RAISE' },
    { code: '23514', file: 'execMain.c', where: 'SQL statement in PL/pgSQL function inline_code_block line 3' },
    { code: undefined, file: undefined },
  ])('are not repeated of anything else: %j', (said) => {
    const told = toldWords({ ...said, message: 'Jane Doe' });
    expect(told).not.toContain('Jane');
    expect(told).toContain(said.code ?? 'no code');
  });

  it('of somebody else’s are left out where a migration repeats them', () => {
    const where = 'PL/pgSQL function inline_code_block line 20 at RAISE';
    const message =
      'The constraint could not be added (SQLSTATE P0001: (Jane) is twice). Have its owner run: ALTER TABLE …;';
    expect(toldWords({ file: 'pl_exec.c', code: '01000', where, message })).toBe(
      'The constraint could not be added (SQLSTATE P0001). Have its owner run: ALTER TABLE …;',
    );
  });
});
