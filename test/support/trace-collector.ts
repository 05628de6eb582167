// A collector for a test: takes spans over OTLP as http/protobuf, and keeps them.
// https://opentelemetry.io/docs/specs/otlp/#otlphttp
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import protobuf from 'protobufjs';

/** As much of it as is looked at: https://github.com/open-telemetry/opentelemetry-proto */
const SCHEMA = `
  syntax = "proto3";
  message Request { repeated ResourceSpans resource_spans = 1; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
  message Resource { repeated KeyValue attributes = 1; }
  message ScopeSpans { repeated Span spans = 2; }
  message Span {
    bytes trace_id = 1; bytes span_id = 2; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
    fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9; Status status = 15;
  }
  message Status { int32 code = 3; }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message AnyValue {
    oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; ArrayValue array_value = 5; }
  }
  message ArrayValue { repeated AnyValue values = 1; }`;
const Request = protobuf.parse(SCHEMA).root.lookupType('Request');

interface AnyValue {
  readonly stringValue?: string;
  readonly intValue?: number;
  readonly arrayValue?: { readonly values: readonly AnyValue[] };
}

type Attributes = readonly { readonly key: string; readonly value: AnyValue }[];

interface SentRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: Attributes };
    readonly scopeSpans: readonly { readonly spans: readonly SentSpan[] }[];
  }[];
}

interface SentSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly attributes: Attributes;
  readonly status?: { readonly code: number };
}

export interface ReceivedSpan {
  readonly name: string;
  /** Hexadecimal, as all ids here; no parent is ''. */
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string;
  readonly startedAt: Date;
  readonly failed: boolean;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly resource: Readonly<Record<string, unknown>>;
}

export class Collector {
  readonly spans: ReceivedSpan[] = [];
  /** All that came, as text: what is not in it was not sent. */
  text = '';
  readonly #server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (request.url === '/v1/traces' && request.headers['content-type'] === 'application/x-protobuf')
      this.#take(Buffer.concat(chunks));
    response.setHeader('content-type', 'application/x-protobuf');
    response.end();
  });

  static async start(): Promise<Collector> {
    const collector = new Collector();
    await new Promise<void>((resolve) => collector.#server.listen(0, '127.0.0.1', resolve));
    return collector;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #take(bytes: Buffer): void {
    this.text += bytes.toString('latin1');
    const { resourceSpans } = Request.toObject(Request.decode(bytes), {
      bytes: String,
      longs: String,
      arrays: true,
    }) as SentRequest;
    for (const { resource, scopeSpans } of resourceSpans)
      for (const span of scopeSpans.flatMap(({ spans }) => spans))
        this.spans.push({
          name: span.name,
          traceId: hex(span.traceId),
          spanId: hex(span.spanId),
          parentId: hex(span.parentSpanId ?? ''),
          startedAt: new Date(Number(BigInt(span.startTimeUnixNano) / 1_000_000n)),
          failed: span.status?.code === 2,
          attributes: read(span.attributes),
          resource: read(resource.attributes),
        });
  }
}

const hex = (base64: string) => Buffer.from(base64, 'base64').toString('hex');

function read(attributes: Attributes): Record<string, unknown> {
  const plain = ({ arrayValue, intValue, stringValue }: AnyValue): unknown =>
    arrayValue ? arrayValue.values.map(plain) : intValue === undefined ? stringValue : Number(intValue);
  return Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]));
}
