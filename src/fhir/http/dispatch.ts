// One HTTP request by undici and its whole answer, bounded in time and size. No retries, no redirects.

import type { Dispatcher } from 'undici';
import { causeOfError } from '../faults/fault.ts';
import type { Cause } from '../faults/fault-table.ts';

/** A refusal is read no further: its OperationOutcome is short, whatever the answer that was asked for may be. */
const REFUSAL_BYTES = 1024 * 1024;

type Headers = Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>[2];

export interface HttpAnswer {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: Headers;
  /** The body, or why there is none: it broke off, or it is larger than was to be read. */
  readonly body: { readonly text: string } | { readonly missing: Cause };
}

/** `mayBeSent` said no when it could have been sent, and `reason` is what it threw. */
export class NotSent extends Error {
  override readonly name = 'NotSent';
  readonly reason: unknown;

  constructor(reason: unknown) {
    super('The request was not sent.');
    this.reason = reason;
  }
}

/**
 * Sends one request; the answer is read up to `maxBytes` of its body. https://undici.nodejs.org/#/docs/api/Dispatcher.md
 *
 * `deadline` by performance.now(). Rejects with an error of undici or of the network, with a TimeoutError, or with a NotSent
 * where `mayBeSent` throws.
 */
export async function dispatch(
  dispatcher: Dispatcher,
  options: Dispatcher.DispatchOptions,
  maxBytes: number,
  deadline: number,
  mayBeSent?: () => void,
): Promise<HttpAnswer> {
  const collector = new AnswerCollector(maxBytes, mayBeSent);
  const timer = setTimeout(
    () => collector.abort(new DOMException('The server took too long.', 'TimeoutError')),
    Math.max(0, deadline - performance.now()),
  );
  try {
    dispatcher.dispatch(options, collector);
    return await collector.answer;
  } finally {
    clearTimeout(timer);
  }
}

/** Of a repeated header the last. `name` in lower case. */
export function headerOf({ headers }: HttpAnswer, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.at(-1) : value;
}

/**
 * Collects the answer as it arrives, by undici's own interface for that: no streams, which would cost more than all else.
 * https://undici.nodejs.org/#/docs/api/Dispatcher.md , DispatchHandler
 */
class AnswerCollector implements Dispatcher.DispatchHandler {
  #maxBytes: number;
  readonly #mayBeSent: () => void;
  readonly #settled = Promise.withResolvers<HttpAnswer>();
  #controller: Dispatcher.DispatchController | null = null;
  #givenUp: Error | null = null;
  #head: { readonly status: number; readonly headers: Headers } | null = null;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number, mayBeSent: () => void = () => undefined) {
    this.#maxBytes = maxBytes;
    this.#mayBeSent = mayBeSent;
  }

  /** Rejects with what went wrong before the answer began. */
  get answer(): Promise<HttpAnswer> {
    return this.#settled.promise;
  }

  /** Breaks the request off, whatever has come of it. */
  abort(error: Error): void {
    this.#givenUp ??= error;
    this.#controller?.abort(error);
    this.#fail(error);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#givenUp) {
      controller.abort(this.#givenUp);
      return;
    }
    // Now there is a connection, and what comes next is written to it.
    try {
      this.#mayBeSent();
    } catch (error) {
      this.abort(new NotSent(error));
    }
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Headers): void {
    // 1xx announce the answer.
    if (status < 200) return;
    this.#head = { status, headers };
    if (status >= 300) this.#maxBytes = Math.min(this.#maxBytes, REFUSAL_BYTES);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes <= this.#maxBytes) {
      this.#chunks.push(chunk);
      return;
    }
    this.#settle({ missing: 'answer-too-large' });
    controller.abort(new Error('The answer is too large.'));
  }

  onResponseEnd(): void {
    this.#settle({ text: this.#chunks.length === 0 ? '' : Buffer.concat(this.#chunks).toString('utf8') });
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#fail(error);
  }

  /** A body that breaks off is no lost answer: status and headers of a write already say what became of it. */
  #fail(error: Error): void {
    const cause = this.#head && causeOfError(error);
    if (cause) this.#settle({ missing: cause });
    else this.#settled.reject(error);
  }

  #settle(body: HttpAnswer['body']): void {
    if (this.#head) this.#settled.resolve({ ...this.#head, body });
    else this.#settled.reject(new Error('undici ended an answer that it had not begun.'));
    this.#chunks = [];
  }
}
