// Sends traces to a collector, where the standard variables of OpenTelemetry ask for it. Without them nothing of its SDK is loaded.
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
import { setTimeout as delay } from 'node:timers/promises';
import { DiagLogLevel, diag, trace } from '@opentelemetry/api';
import type { Logger } from 'pino';
import { FatalError } from './fatal.ts';

/** A collector that does not answer holds nobody up for longer when the process ends. */
const LAST_EXPORT_MS = 2000;
/** It may be away for long. */
const WARN_EVERY_MS = 60_000;

export interface Telemetry {
  /** Sends what is left, for two seconds at most. */
  close(): Promise<void>;
}

/** Throws a FatalError where the variables ask for what this program does not have. */
export async function startTelemetry(environment: NodeJS.ProcessEnv, version: string, log: Logger): Promise<Telemetry> {
  if (!asksForTraces(environment)) return { close: async () => undefined };
  const [{ OTLPTraceExporter }, { BasicTracerProvider, BatchSpanProcessor }, resources] = await Promise.all([
    import('@opentelemetry/exporter-trace-otlp-proto'),
    import('@opentelemetry/sdk-trace-base'),
    import('@opentelemetry/resources'),
  ]);
  const { defaultResource, detectResources, envDetector, resourceFromAttributes } = resources;
  const own = resourceFromAttributes({ 'service.name': 'fhir-connector', 'service.version': version });
  const provider = new BasicTracerProvider({
    // What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say goes before our own.
    resource: defaultResource()
      .merge(own)
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
  });
  trace.setGlobalTracerProvider(provider);
  warnOfFailures(log);
  log.info('Sending traces by OpenTelemetry.');
  return {
    close: async () => await Promise.race([provider.shutdown(), delay(LAST_EXPORT_MS, undefined, { ref: false })]),
  };
}

function asksForTraces(environment: NodeJS.ProcessEnv): boolean {
  const exporter = environment.OTEL_TRACES_EXPORTER;
  if (environment.OTEL_SDK_DISABLED?.toLowerCase() === 'true' || exporter === 'none') return false;
  const endpoint = environment.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT || environment.OTEL_EXPORTER_OTLP_ENDPOINT;
  if (!exporter && !endpoint) return false;
  if (exporter && exporter !== 'otlp')
    throw new FatalError(
      `OTEL_TRACES_EXPORTER is ${JSON.stringify(exporter)}: the connector knows otlp (OTLP over HTTP) and none.`,
    );
  const protocol = environment.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL || environment.OTEL_EXPORTER_OTLP_PROTOCOL;
  if (protocol && protocol !== 'http/protobuf')
    throw new FatalError(
      `The connector speaks OTLP as http/protobuf alone, not ${JSON.stringify(protocol)}. Leave OTEL_EXPORTER_OTLP_PROTOCOL out, and name the collector's port for HTTP (4318).`,
    );
  return true;
}

/** Spans that could not be sent are dropped, and the deliveries go on. */
function warnOfFailures(log: Logger): void {
  let warnedAt = Number.NEGATIVE_INFINITY;
  const warn = () => {
    if (performance.now() - warnedAt < WARN_EVERY_MS) return;
    warnedAt = performance.now();
    // Not its words: they may hold what the collector answered.
    log.warn(
      'Traces could not be sent: is the collector at OTEL_EXPORTER_OTLP_ENDPOINT? The deliveries go on without them.',
    );
  };
  const nothing = () => undefined;
  diag.setLogger({ error: warn, warn, info: nothing, debug: nothing, verbose: nothing }, DiagLogLevel.WARN);
}
