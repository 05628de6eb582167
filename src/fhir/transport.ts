// HTTP to the FHIR server by undici: one request, one answer or the cause why there is none. No retries, no redirects.

import type { Dispatcher } from 'undici';
import { buildConnector, errors, Pool } from 'undici';
import { AnswerCollector, type HttpAnswer } from './answer-collector.ts';
import type { Cause } from './fault.ts';
import { causeOfError } from './fault.ts';

export interface TransportConfig {
  /** FHIR base URL, as https://fhir.example.org/fhir */
  readonly baseUrl: string;
  /** Connections for writes and look-ups, each with one request at a time. */
  readonly connections: number;
  /** For a whole request, from its start to the last byte of the answer. */
  readonly timeoutMs: number;
  readonly userAgent: string;
  /** The Authorization header of a request, asked for each time; undefined for none. */
  readonly authorization?: () => Promise<string | undefined>;
}

export interface HttpRequest {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** Below the base URL, encoded: Patient/7, Patient?identifier=…; '' for the base URL itself. */
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  /** More is not read. */
  readonly maxBytes: number;
  /** A control request: it has a connection of its own, so that requests which hang do not hold it up. */
  readonly control?: boolean;
}

// R4 where one address serves several versions (Firely Server, LinuxForHealth): named in Accept it holds for the whole
// exchange, https://hl7.org/fhir/R4/http.html#version-parameter . In Content-Type some servers have failed on it
// (https://github.com/srdc/repofyr/issues/35 ), and others refuse it alone in Accept
// (https://github.com/FirelyTeam/firely-net-sdk/issues/1899 ): so the plain type stands beside it.
const ACCEPT = 'application/fhir+json; fhirVersion=4.0, application/fhir+json;q=0.9';

export type Exchange = { ok: true; answer: HttpAnswer } | { ok: false; cause: Cause };

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

  /** Sends one request. Throws only for faults of this program. */
  async send(request: HttpRequest): Promise<Exchange> {
    let authorization: string | undefined;
    try {
      if (this.#config.authorization) authorization = await this.#config.authorization();
    } catch {
      return { ok: false, cause: 'token' };
    }
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
    for (let repeated = false; ; repeated = true) {
      try {
        return { ok: true, answer: await dispatch(pool, options, request.maxBytes, deadline) };
      } catch (error) {
        // A server may close an idle connection at the very moment when the next request is written to it; that request is
        // repeated at once, once (https://httpwg.org/specs/rfc9112.html#persistent.retrying.requests ). Only on a
        // connection that has served before: one that breaks on its first request is a failure to be reported.
        if (!repeated && this.#brokeOnReuse(error)) continue;
        const cause = causeOfError(error);
        if (cause === null) throw error;
        return { ok: false, cause };
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
    await Promise.all([this.#data.destroy(), this.#control.destroy()]);
  }

  #brokeOnReuse(error: unknown): boolean {
    if (error instanceof errors.SocketError) return (error.socket?.bytesRead ?? 0) > 0;
    return error instanceof Error && (this.#bytesRead.get(error) ?? 0) > 0;
  }

  #pool(origin: string, connections: number): Pool {
    const connector = buildConnector({ timeout: this.#config.timeoutMs });
    return new Pool(origin, {
      connections,
      pipelining: 1,
      // `dispatch` has a deadline for the whole request.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: (options, callback) =>
        connector(options, (...result) => {
          // undici hands a socket's own error (ECONNRESET, EPIPE) on as it is: note how far that socket had come.
          const [, socket] = result;
          socket?.prependListener('error', (error) => this.#bytesRead.set(error, socket.bytesRead));
          callback(...result);
        }),
    });
  }
}

/** `deadline` by performance.now(). Rejects with an error of undici or of the network, or with a TimeoutError. */
async function dispatch(
  pool: Pool,
  options: Dispatcher.DispatchOptions,
  maxBytes: number,
  deadline: number,
): Promise<HttpAnswer> {
  const collector = new AnswerCollector(maxBytes);
  const timer = setTimeout(
    () => collector.giveUp(new DOMException('The FHIR server took too long.', 'TimeoutError')),
    Math.max(0, deadline - performance.now()),
  );
  try {
    pool.dispatch(options, collector);
    return await collector.answer;
  } finally {
    clearTimeout(timer);
  }
}
