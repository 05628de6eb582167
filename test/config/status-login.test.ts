// Who may read the status page: both variables, or neither.
import { describe, expect, it } from 'vitest';
import { statusLogin } from '../../src/config/status-login.ts';
import { faults, folderOfFiles, NEEDED, read } from './configuration.ts';

const { file } = folderOfFiles();
const readerFrom = (environment: Record<string, string>) => statusLogin(read(environment));

describe('readerOf', () => {
  it('is nobody in particular where nothing is set', () => {
    expect(readerFrom({})).toBeNull();
    expect(readerFrom({ STATUS_USER: '', STATUS_PASSWORD: '' })).toBeNull();
  });

  it('is who is set, with the password from a file, too', () => {
    expect(readerFrom({ STATUS_USER: 'Zoë', STATUS_PASSWORD: 'a:b c' })).toEqual({ user: 'Zoë', password: 'a:b c' });
    expect(readerFrom({ STATUS_USER: 'zoe', STATUS_PASSWORD_FILE: file('status', 'secret\n') })).toEqual({
      user: 'zoe',
      password: 'secret',
    });
  });

  it('is refused where one of the two is missing, rather than let everybody in', () => {
    expect(() => readerFrom({ STATUS_USER: 'zoe' })).toThrow(
      'STATUS_USER is set, and STATUS_PASSWORD is not: set both, or neither.',
    );
    expect(() => readerFrom({ STATUS_PASSWORD: 'hush' })).toThrow(
      'STATUS_PASSWORD is set, and STATUS_USER is not: set both, or neither.',
    );
  });

  it('holds nothing that no browser could send', () => {
    expect(faults({ ...NEEDED, STATUS_USER: 'a:b', STATUS_PASSWORD: 'hush\nhush' })).toEqual([
      'STATUS_USER may hold no colon and no control character.',
      'STATUS_PASSWORD may hold no control character.',
    ]);
  });
});
