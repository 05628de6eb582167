// verify for a test against a FHIR server: what `verify` is given on the command line, made from a setting.
import { createFhirClient } from '../../src/fhir/client/create-client.ts';
import { createLog } from '../../src/log.ts';
import { openDatabase } from '../../src/outbox/tables/database.ts';
import { type TableVerification, verify } from '../../src/verify/verify.ts';
import { fhirUrl } from './fhir-server.ts';
import type { Setting } from './setup.ts';

export interface Verifying {
  /** Of each table that is sent. */
  run(repair?: boolean): Promise<readonly TableVerification[]>;
  end(): Promise<void>;
}

export function verifying({ database }: Setting): Verifying {
  const db = openDatabase(database.config, createLog({ WORKER_ID: 'test', LOG_LEVEL: 'fatal' }));
  const fhir = createFhirClient(
    { baseUrl: fhirUrl(), concurrency: 8, timeoutMs: 30_000, userAgent: 'fhir-connector/test' },
    () => undefined,
  );
  return {
    async run(repair = false) {
      const settings = { sample: null, seed: 1, repair, profile: 'us-core', concurrency: 8 } as const;
      const watcher = { progress: () => undefined, waiting: () => undefined };
      return (await verify(db, fhir, settings, watcher, new AbortController().signal)).tables;
    },
    async end() {
      await fhir.close();
      await db.destroy();
    },
  };
}
