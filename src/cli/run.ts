// `run`: builds the parts, runs the pipeline until a signal, and takes the parts down in order.
import type { Command } from 'commander';
import packageJson from '../../package.json' with { type: 'json' };
import { environmentSchema } from '../config/environment.ts';
import { readConfig } from '../config/read.ts';
import { slotSettings } from '../config/slot.ts';
import { statusLogin } from '../config/status-login.ts';
import { createLog } from '../log.ts';
import { createHttpServer } from '../metrics/http-server.ts';
import { createMetrics } from '../metrics/metrics.ts';
import { createSampler } from '../metrics/sampler.ts';
import { basicAuth } from '../metrics/status-page/basic-auth.ts';
import { History } from '../metrics/status-page/history.ts';
import { live } from '../metrics/status-page/live.ts';
import { page } from '../metrics/status-page/page.ts';
import { RecentFaults } from '../metrics/status-page/recent-faults.ts';
import { openDatabase } from '../outbox/tables/database.ts';
import { runPipeline } from '../pipeline.ts';
import { mustBe } from '../replication/server/known-server.ts';
import { namesOf } from '../replication/slot/slot-settings.ts';
import { startTelemetry } from '../telemetry.ts';
import { openFhirClient } from './open-fhir-client.ts';

/** In which /readyz answers 200. */
export const READY_STATES: ReadonlySet<string> = new Set(['streaming', 'standby', 'catching-up']);

const NO_BUNDLES =
  'The FHIR server takes no transaction Bundles: until the next start each resource goes in a request of its own. Set FHIR_BATCH_SIZE=1, or allow transactions on the server.';
const SMALLER_BUNDLES =
  'The FHIR server takes only smaller Bundles: until the next start they have so many resources at most. Set FHIR_BATCH_SIZE to that.';

export function addRunCommand(program: Command): void {
  program
    .command('run', { isDefault: true })
    .summary('Streams committed changes to the FHIR server; it is what runs without a command.')
    .description('Streams committed changes to the FHIR server until SIGTERM or SIGINT.')
    // A word that is no command comes here, too: it is said, and nothing is begun.
    .allowExcessArguments()
    .action((_options: object, command: Command) => {
      const [word] = command.args;
      if (word !== undefined) command.error(`error: there is no command “${word}”, and run takes no argument.`);
      return run();
    });
}

/** Throws a FatalError on a fault that only an operator can mend. */
async function run(): Promise<void> {
  const config = readConfig(environmentSchema, process.env);
  const faults = new RecentFaults();
  const log = createLog(config, faults);
  const stop = new AbortController();
  // SIGPIPE is left out: a closed log pipe must not stop the delivery of patients' data.
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.once(signal, () => stop.abort(new Error(`The process got ${signal}.`)));

  const slot = slotSettings(config);
  const login = statusLogin(config);
  const slotName = namesOf(slot).slot;
  const telemetry = await startTelemetry(process.env, packageJson.version, log);
  const metrics = createMetrics(slot.shard);
  metrics.outboxLagLimit.set(config.OUTBOX_LAG_ALERT_SECONDS);
  const history = new History(metrics);
  const db = openDatabase(slot.config, log);
  const fhir = openFhirClient(
    config,
    { writes: true, deletes: config.FHIR_DELETE === 'delete' },
    ({ outcome, seconds, puts }) => {
      metrics.callLatency.observe(seconds);
      if (puts !== undefined) metrics.bundlePatients.observe(puts);
      if (outcome !== 'ok') metrics.callErrors.inc({ code: outcome });
    },
    {
      batchSize: config.FHIR_BATCH_SIZE,
      onSmallerBundles: (size) => log.warn({ size }, size === 1 ? NO_BUNDLES : SMALLER_BUNDLES),
    },
  );
  const http = await createHttpServer({
    host: config.METRICS_HOST,
    port: config.METRICS_PORT,
    metrics,
    health: () => {
      const state = metrics.connectorState.get();
      return { ready: READY_STATES.has(state), state };
    },
    statusPage: {
      ...page,
      live: () =>
        live({
          metrics,
          history,
          faults,
          worker: config.WORKER_ID,
          slot: slotName,
          fhirServer: config.FHIR_SERVER,
        }),
    },
    ...(login && { mayRead: basicAuth(login, log) }),
  });
  log.info({ version: packageJson.version, node: process.version, metricsPort: http.port }, 'Starting.');
  const sampling = new AbortController();
  history.start(sampling.signal);
  const sampled = createSampler(db, slotName, slot.shard, metrics, log).run(sampling.signal);
  try {
    await runPipeline(
      {
        slot,
        resources: config.FHIR_RESOURCES,
        outbox: {
          concurrency: config.FHIR_CONCURRENCY,
          batchSize: config.FHIR_BATCH_SIZE,
          maxRetries: config.MAX_RETRIES,
          profile: config.FHIR_PROFILE,
          update: config.FHIR_UPDATE,
          deletes: config.FHIR_DELETE,
        },
        shutdownTimeoutMs: config.SHUTDOWN_TIMEOUT_MS,
        retentionDays: config.RETENTION_DAYS,
        openDatabase: (server) => openDatabase(slot.config, log, (connection) => mustBe(server, connection)),
        fhir,
        metrics,
        log,
      },
      stop.signal,
    );
    log.info('Stopped.');
  } finally {
    sampling.abort();
    await sampled;
    await http.close();
    await fhir.close();
    await db.destroy();
    await telemetry.close();
  }
}
