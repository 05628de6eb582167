// What a process uses: its CPU time and its resident memory, read from Linux's /proc.
// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html , proc_pid_status.5.html
import { readFileSync } from 'node:fs';

/** Clock ticks a second in /proc, which Linux fixes for user space. */
const TICKS = 100;

/** User and system time since the process began, in seconds; of this process by default. */
export function cpuSeconds(pid: number | 'self' = 'self'): number {
  const { own } = times(pid);
  return own;
}

/** The same of a process and all that its main thread started, with those that have ended; what these started in turn is not counted until they end. */
export function familyCpuSeconds(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  const { own, ended } = times(pid);
  return children.reduce((sum, child) => sum + cpuSecondsOrNone(child), own + ended);
}

/** A process that ends meanwhile is counted the next time, among those that have ended. */
function cpuSecondsOrNone(pid: number): number {
  try {
    return cpuSeconds(pid);
  } catch {
    return 0;
  }
}

function times(pid: number | 'self'): { own: number; ended: number } {
  // The name in parentheses may hold blanks: fields are counted behind it.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
    .map(Number);
  const sum = (from: number) => ((fields[from] ?? Number.NaN) + (fields[from + 1] ?? Number.NaN)) / TICKS;
  return { own: sum(11), ended: sum(13) };
}

/** The most resident memory that it ever had, in MB (10^6 bytes). */
export function peakMB(pid: number): number {
  const kib = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return (Number(kib) * 1024) / 1e6;
}
