// Ends an embedded PostgreSQL and removes its directory as soon as the process that started it is gone, even by kill -9.

import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';

const [pgCtl = '', home = '', uid = '', gid = ''] = process.argv.slice(2);
const account = uid === '' ? {} : { uid: Number(uid), gid: Number(gid) };

// The other end of this pipe is held by that process alone, so its end is the end of the process: no polling, no race over pids.
process.stdin.resume().on('end', () => {
  try {
    execFileSync(pgCtl, ['stop', '-D', join(home, 'data'), '-m', 'immediate'], { ...account, stdio: 'ignore' });
  } catch {
    // It was stopped already.
  }
  rmSync(home, { recursive: true, force: true });
});
