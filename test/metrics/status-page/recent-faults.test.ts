// What the status page keeps of the log: warnings and errors, the newest first, and of their fields only ids and codes.
import { Writable } from 'node:stream';
import pino from 'pino';
import { beforeEach, describe, expect, it } from 'vitest';
import { RecentFaults } from '../../../src/metrics/status-page/recent-faults.ts';

let faults: RecentFaults;
let log: pino.Logger;

beforeEach(() => {
  faults = new RecentFaults();
  log = pino(
    {
      hooks: {
        logMethod(args, method, level) {
          faults.note(level, args);
          method.apply(this, args);
        },
      },
    },
    new Writable({ write: (_chunk, _encoding, done) => done() }),
  );
});

describe('of the log', () => {
  it('warnings and errors are kept, the newest first, and nothing else', () => {
    log.info('delivered');
    log.warn('one');
    log.error({ code: 'ECONNREFUSED' }, 'two');
    expect(faults.newest.map(({ level, message }) => [level, message])).toEqual([
      ['error', 'two'],
      ['warning', 'one'],
    ]);
  });

  it('only ids, codes and the reason are kept of what a line carries', () => {
    log.warn(
      { code: '57P01', eventKey: 'Patient/7/3', txid: 744, patient: 'Curie', nested: { name: 'Curie' } },
      'told',
    );
    expect(faults.newest[0]?.details).toEqual({ code: '57P01', eventKey: 'Patient/7/3', txid: 744 });
    expect(JSON.stringify(faults.newest)).not.toContain('Curie');
  });

  it('what comes again and again is one line with its number', () => {
    for (let time = 0; time < 3; time += 1) log.warn('again');
    log.warn('other');
    expect(faults.newest.map(({ message, times }) => [message, times])).toEqual([
      ['other', 1],
      ['again', 3],
    ]);
  });

  it('what alternates does not push out what came before', () => {
    log.warn('before');
    for (let time = 0; time < 30; time += 1) {
      log.warn('one');
      log.warn('the other');
    }
    expect(faults.newest.map(({ message, times }) => [message, times])).toEqual([
      ['the other', 30],
      ['one', 30],
      ['before', 1],
    ]);
  });

  it('twenty are kept', () => {
    for (let number = 0; number < 30; number += 1) log.warn(`number ${number}`);
    expect(faults.newest).toHaveLength(20);
    expect(faults.newest[0]?.message).toBe('number 29');
  });
});
