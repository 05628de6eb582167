// The log: JSON lines with service and worker_id, written in batches so that logging never holds a delivery up.
import pino, { type Logger } from 'pino';
import type { RecentFaults } from './metrics/status-page/recent-faults.ts';

export interface LogConfig {
  readonly WORKER_ID: string;
  readonly LOG_LEVEL: string;
}

/** `faults` is told of warnings and errors. Errors are logged by code, never by message: messages of PostgreSQL and FHIR servers quote patients' data. */
export function createLog(config: LogConfig, faults?: RecentFaults): Logger {
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
    // Larger pieces cost more than they save: at each line the destination measures all that it holds.
    pino.destination({ fd: 1, sync: false, minLength: 1024, periodicFlush: 100 }),
  );
}
