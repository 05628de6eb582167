// The log: JSON lines with service and worker_id, written in batches so that logging never holds a delivery up.
import pino, { type Logger } from 'pino';
import type { RecentFaults } from './metrics/status-page/recent-faults.ts';

export interface LogConfig {
  readonly WORKER_ID: string;
  readonly LOG_LEVEL: string;
}

/** `faults` is told of warnings and errors. Errors are logged by code, never by message: messages of PostgreSQL and FHIR servers quote patients' data. */
export function createLog(config: LogConfig, faults?: RecentFaults): Logger {
  // Each write wakes another thread and is told of, which costs more than the lines in it. As bytes, for of text the
  // destination measures at each line all that it holds.
  const out = pino.destination({ fd: 1, sync: false, contentMode: 'buffer', minLength: 8192, periodicFlush: 100 });
  return pino(
    {
      level: config.LOG_LEVEL,
      base: { service: 'fhir-connector', worker_id: config.WORKER_ID },
      timestamp: pino.stdTimeFunctions.isoTime,
      ...(faults && {
        hooks: {
          logMethod(args, method, level) {
            faults.note(level, args);
            method.apply(this, args);
          },
        },
      }),
    },
    // In its types it takes text alone.
    { write: (line) => out.write(Buffer.from(line) as unknown as string) },
  );
}
