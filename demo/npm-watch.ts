// Notices that the npm which runs this script is gone: killed, it takes its shell with it or not even that, never us.

import { readFileSync } from 'node:fs';

const INTERVAL_MS = 250;

/** Calls `onGone` once, when npm has ended before this process; never where npm did not start it. */
export function watchNpm(onGone: () => void): void {
  if (process.env.npm_lifecycle_event === undefined) return;
  const npm = npmPid();
  // It ended while we were starting, and init has adopted us. (In a container npm itself may be process 1.)
  const orphaned = npm === 1 && !/npm|node/.test(describe(1)?.name ?? '');
  const timer = setInterval(() => {
    if (npmPid() === npm && !orphaned) return;
    clearInterval(timer);
    onGone();
  }, INTERVAL_MS);
  timer.unref();
}

/** Our parent, or the parent of the shell between. What is above npm may come and go. */
function npmPid(): number {
  const parent = describe(process.ppid);
  return parent?.name === 'sh' ? parent.ppid : process.ppid;
}

/** https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html ; null where there is no such file (not on Linux). */
function describe(pid: number): { name: string; ppid: number } | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const end = stat.lastIndexOf(')');
    return { name: stat.slice(stat.indexOf('(') + 1, end), ppid: Number(stat.slice(end + 2).split(' ')[1]) };
  } catch {
    return null;
  }
}
