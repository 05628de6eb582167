// HTTP to the FHIR server by undici: one request, one answer or the cause why there is none. No retries, no redirects.

import type { Dispatcher } from 'undici';
import { errors, Pool } from 'undici';
import type { Credentials } from '../authorization/credentials.ts';
import { causeOfError, type Failure } from '../faults/fault.ts';
import type { Cause } from '../faults/fault-table.ts';
import { dispatch, type HttpAnswer, NotSent } from '../http/dispatch.ts';
import { connector, type Tls } from '../http/tls.ts';

export interface TransportConfig {
  /** FHIR base URL, as https://fhir.example.org/fhir */
  readonly baseUrl: string;
  /** Connections for writes and look-ups, each with one request at a time. */
  readonly connections: number;
  /** For a whole request, from its start to the last byte of the answer. */
  readonly timeoutMs: number;
  readonly userAgent: string;
  /** Asked for each connection. */
  readonly tls: () => Tls;
  /** Closed with the transport. */
  readonly credentials: Credentials;
}

export interface HttpRequest {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** Below the base URL, encoded: Patient/7, Patient?identifier=…; '' for the base URL itself. */
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  /** More is not read. */
  readonly maxBytes: number;
  /** Asked at the moment when it is written, for token and connection may have taken long: what it throws, `send` rejects with. */
  readonly mayBeSent?: (() => void) | undefined;
  /** A control request: it has a connection of its own, so that requests which hang do not hold it up. */
  readonly control?: boolean;
}

// R4 where one address serves several versions (Firely Server, LinuxForHealth): named in Accept it holds for the whole
// exchange, https://hl7.org/fhir/R4/http.html#version-parameter . In Content-Type some servers have failed on it
// (https://github.com/srdc/repofyr/issues/35 ), and others refuse it alone in Accept
// (https://github.com/FirelyTeam/firely-net-sdk/issues/1899 ): so the plain type stands beside it.
const ACCEPT = 'application/fhir+json; fhirVersion=4.0, application/fhir+json;q=0.9';

/** Of all headers of an answer together; servers send some hundred bytes. */
const MOST_HEADER_BYTES = 16 * 1024;

export type Exchange = { ok: true; answer: HttpAnswer } | ({ ok: false } & Failure);

export class Transport {
  readonly #config: TransportConfig;
  readonly #basePath: string;
  readonly #data: Pool;
  readonly #control: Pool;
  readonly #bytesRead = new WeakMap<Error, number>();

  constructor(config: TransportConfig) {
    this.#config = config;
    const base = new URL(config.baseUrl);
    this.#basePath = base.pathname.replace(/\/*$/, '/');
    this.#data = this.#pool(base.origin, config.connections);
    this.#control = this.#pool(base.origin, 1);
  }

  /** Sends one request, with another token once more where the first one is refused. Throws only for faults of this program. */
  async send(request: HttpRequest): Promise<Exchange> {
    const shown = await this.#config.credentials.header();
    if (!shown.ok) return shown;
    const exchange = await this.#exchange(request, shown.header);
    if (shown.header === undefined || !exchange.ok || exchange.answer.status !== 401) return exchange;
    // What is refused so was not carried out: https://httpwg.org/specs/rfc9110.html#status.401
    const renewed = await this.#config.credentials.renewed(shown.header);
    if (renewed === null) return exchange;
    return renewed.ok ? await this.#exchange(request, renewed.header) : renewed;
  }

  async #exchange(request: HttpRequest, authorization: string | undefined): Promise<Exchange> {
    const options: Dispatcher.DispatchOptions = {
      method: request.method,
      path: request.path === '' ? this.#basePath.replace(/(?<=.)\/$/, '') : this.#basePath + request.path,
      headers: {
        accept: ACCEPT,
        'user-agent': this.#config.userAgent,
        ...(authorization !== undefined && { authorization }),
        ...request.headers,
      },
      ...(request.body !== undefined && { body: request.body }),
    };
    const pool = request.control === true ? this.#control : this.#data;
    const deadline = performance.now() + this.#config.timeoutMs;
    let broken: Cause | null = null;
    for (;;) {
      try {
        return { ok: true, answer: await dispatch(pool, options, request.maxBytes, deadline, request.mayBeSent) };
      } catch (error) {
        if (error instanceof NotSent) {
          if (broken === null) throw error.reason;
          // Of what broke nobody knows whether it was carried out, which is more than "not sent".
          return { ok: false, cause: broken };
        }
        const cause = causeOfError(error);
        if (cause === null) throw error;
        // A server may close an idle connection at the very moment when the next request is written to it; that request is
        // repeated at once, once (https://httpwg.org/specs/rfc9112.html#persistent.retrying.requests ). Only on a
        // connection that has served before: one that breaks on its first request is a failure to be reported.
        if (broken !== null || !this.#brokeOnReuse(error)) return { ok: false, cause };
        broken = cause;
      }
    }
  }

  /**
   * A link of the server as the path of a request: only its part below the base counts, because behind a proxy servers
   * know themselves by other names. Null when it leads elsewhere.
   */
  pathOf(link: string): string | null {
    const url = URL.parse(link, new URL(this.#basePath, this.#config.baseUrl).href);
    if (url === null) return null;
    if (url.pathname === this.#basePath.slice(0, -1)) return url.search;
    return url.pathname.startsWith(this.#basePath) ? url.pathname.slice(this.#basePath.length) + url.search : null;
  }

  /** Ends idle connections and breaks off what is still running. */
  async close(): Promise<void> {
    await Promise.all([this.#config.credentials.close(), this.#data.destroy(), this.#control.destroy()]);
  }

  #brokeOnReuse(error: unknown): boolean {
    if (error instanceof errors.SocketError) return (error.socket?.bytesRead ?? 0) > 0;
    return error instanceof Error && (this.#bytesRead.get(error) ?? 0) > 0;
  }

  #pool(origin: string, connections: number): Pool {
    const connect = connector(this.#config.tls, this.#config.timeoutMs, 'these alone');
    return new Pool(origin, {
      connections,
      pipelining: 1,
      maxHeaderSize: MOST_HEADER_BYTES,
      // `dispatch` has a deadline for the whole request.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: (options, callback) =>
        connect(options, (...result) => {
          // undici hands a socket's own error (ECONNRESET, EPIPE) on as it is: note how far that socket had come.
          const [, socket] = result;
          socket?.prependListener('error', (error) => this.#bytesRead.set(error, socket.bytesRead));
          callback(...result);
        }),
    });
  }
}
