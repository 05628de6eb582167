// What a process uses: its CPU time and its resident memory, read from Linux's /proc.
// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html , proc_pid_status.5.html
import { readFileSync } from 'node:fs';

/** Clock ticks a second in /proc, which Linux fixes for user space. */
const TICKS = 100;

/** User and system time since the process began, in seconds; of this process by default. */
export function cpuSeconds(pid: number | 'self' = 'self'): number {
  // The name in parentheses may hold blanks: fields are counted behind it.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** The most resident memory that it ever had, in MB (10^6 bytes). */
export function peakMB(pid: number): number {
  const kib = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return (Number(kib) * 1024) / 1e6;
}
