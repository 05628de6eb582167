// The clock that all processes of a machine share, so that what one of them saw can be compared with what another did.

/** Milliseconds, of process.hrtime. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
