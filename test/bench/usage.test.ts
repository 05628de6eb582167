// The CPU time of a process with all that it started, as PostgreSQL's postmaster starts a process a connection.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { cpuSeconds, familyCpuSeconds } from '../../bench/usage.ts';

/** Half a second, in microseconds, of user and system time. */
const BURN = 'for (let t; t = process.cpuUsage(), t.user + t.system < 500000;);';

test('the CPU time of a family counts children that live and children that have ended', async () => {
  // The shell waits for the first, then starts the second, which says that it has burnt its time and stays.
  const script = `'${process.execPath}' -e '${BURN}'; '${process.execPath}' -e '${BURN} console.log(1); setInterval(() => 0, 1000)'; exit`;
  const shell = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  const { pid } = shell;
  if (pid === undefined) throw new Error('There is no shell.');
  try {
    await once(shell.stdout, 'data');
    expect(familyCpuSeconds(pid)).toBeGreaterThan(cpuSeconds(pid) + 0.8);
  } finally {
    const exited = once(shell, 'exit');
    process.kill(-pid, 'SIGKILL');
    await exited;
  }
}, 60_000);
