// The trace of a delivery, by OpenTelemetry: a span from the commit to the record, and in it one for each try to send it.
// No patient's data: ids of transactions, rows and resources alone.
//
// As long as no SDK is started (src/telemetry.ts) the API makes no spans, and hands on what the application handed in.
import {
  defaultTextMapGetter,
  defaultTextMapSetter,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { formatLsn } from '../../postgres/lsn.ts';
import type { Delivery } from '../delivery/delivery.ts';
import type { Ending } from '../tables/ending.ts';
import type { WriteResult } from '../writer/write-context.ts';

const tracer = trace.getTracer('fhir-connector');
/** https://www.w3.org/TR/trace-context/ */
const w3c = new W3CTraceContextPropagator();

/** Begins with the commit, or now where its time is not known; below the application's span, if it handed one in. Null where there is no trace. */
export function traceOf(delivery: Delivery): DeliveryTrace | null {
  const { traceparent, committedAt, endLsn, resourceType } = delivery;
  const parent = traceparent === null ? ROOT_CONTEXT : w3c.extract(ROOT_CONTEXT, { traceparent }, defaultTextMapGetter);
  const began = committedAt === null ? {} : { startTime: committedAt };
  const span = tracer.startSpan(`deliver ${resourceType}`, { kind: SpanKind.CONSUMER, ...began }, parent);
  if (!trace.isSpanContextValid(span.spanContext())) return null;
  if (span.isRecording())
    // https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
    span.setAttributes({
      'messaging.system': 'postgresql',
      'messaging.destination.name': 'fhir_outbox',
      'messaging.operation.type': 'process',
      'fhir_connector.txid': delivery.txid,
      'fhir_connector.event_key': delivery.eventKey,
      'fhir_connector.outbox_ids': [...delivery.outboxIds],
      ...(endLsn !== null && { 'fhir_connector.lsn': formatLsn(endLsn) }),
    });
  return new DeliveryTrace(span, resourceType);
}

/** What anybody may read of the resource's id and version; null where there is none. */
export interface ToldIds {
  readonly fhirId: string | null;
  readonly version: string | null;
}

export class DeliveryTrace {
  readonly #span: Span;
  readonly #type: string;

  constructor(span: Span, type: string) {
    this.#span = span;
    this.#type = type;
  }

  /** For the log. */
  get id(): string {
    return this.#span.spanContext().traceId;
  }

  /** A try to send it, with what the FHIR server is to have as traceparent: its spans are below this one. */
  async attempt(send: (traceparent: string | undefined) => Promise<WriteResult>): Promise<WriteResult> {
    const below = trace.setSpan(ROOT_CONTEXT, this.#span);
    const span = tracer.startSpan(`send ${this.#type}`, { kind: SpanKind.CLIENT }, below);
    const headers: { traceparent?: string } = {};
    w3c.inject(trace.setSpan(ROOT_CONTEXT, span), headers, defaultTextMapSetter);
    try {
      const result = await send(headers.traceparent);
      span.setAttribute('fhir_connector.result', result.kind);
      if (result.kind === 'failed') {
        // https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/
        span.setAttribute('error.type', result.fault.code);
        span.setStatus({ code: SpanStatusCode.ERROR });
      }
      return result;
    } finally {
      span.end();
    }
  }

  recorded(ending: Ending, { fhirId, version }: ToldIds): void {
    this.#span.setAttribute('fhir_connector.outcome', ending.kind);
    if (ending.kind === 'dead') this.#span.setStatus({ code: SpanStatusCode.ERROR });
    if (fhirId !== null) this.#span.setAttributes({ 'fhir.id': fhirId, 'fhir.version': version ?? undefined });
  }

  end(): void {
    this.#span.end();
  }
}
