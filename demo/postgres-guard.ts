// Ends an embedded PostgreSQL and removes its directory as soon as the process that started it is gone, even by kill -9.

import { execFileSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const [pgCtl = '', home = '', uid = '', gid = ''] = process.argv.slice(2);
const account = uid === '' ? {} : { uid: Number(uid), gid: Number(gid) };

// The other end of this pipe is held by that process alone, so its end is the end of the process: no polling, no race over pids.
process.stdin.resume().on('end', async () => {
  // An initdb or pg_ctl that it had just started lives on for a moment and may still write: until the directory stays away.
  for (let round = 0; existsSync(home) && round < 40; round += 1) {
    stopServer();
    removeHome();
    await sleep(250);
  }
});

function stopServer(): void {
  // Where the server's account may not enter the project's directory, it runs on a copy.
  const copy = join(home, 'native', 'bin', basename(pgCtl));
  const file = existsSync(copy) ? copy : pgCtl;
  try {
    const args = ['stop', '-D', join(home, 'data'), '-m', 'immediate'];
    execFileSync(file, args, { ...account, cwd: home, stdio: 'ignore' });
  } catch {
    // It was stopped already, or is not up yet.
  }
}

function removeHome(): void {
  try {
    rmSync(home, { recursive: true, force: true });
  } catch {
    // Something was written while it was being removed: the next round has it.
  }
}
