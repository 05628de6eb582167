// Requests to an authorization server, or for where it is: bounded in time and size, without redirects.

import { Agent, type Dispatcher } from 'undici';
import { dispatch, type HttpAnswer } from '../http/dispatch.ts';
import { connector, type Tls, type Trusted } from '../http/tls.ts';

const MOST_BYTES = 256 * 1024;

export class BoundedAgent {
  readonly #agent: Agent;
  readonly #timeoutMs: number;

  /** `tls` is asked for each connection; a whole answer takes `timeoutMs` at most. */
  constructor(tls: () => Tls, timeoutMs: number, trusted: Trusted) {
    this.#timeoutMs = timeoutMs;
    this.#agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, connect: connector(tls, timeoutMs, trusted) });
  }

  /** Rejects with what causeOfError knows. */
  async request(
    url: string,
    options: Pick<Dispatcher.DispatchOptions, 'method' | 'headers' | 'body'>,
  ): Promise<HttpAnswer> {
    const { origin, pathname, search } = new URL(url);
    const deadline = performance.now() + this.#timeoutMs;
    return await dispatch(this.#agent, { origin, path: pathname + search, ...options }, MOST_BYTES, deadline);
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }
}
