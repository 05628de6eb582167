// One HTTP request by undici and its whole answer, bounded in time and size. No retries, no redirects.

import type { Dispatcher } from 'undici';
import { AnswerCollector, type HttpAnswer } from './answer-collector.ts';

/**
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
    () => collector.giveUp(new DOMException('The server took too long.', 'TimeoutError')),
    Math.max(0, deadline - performance.now()),
  );
  try {
    dispatcher.dispatch(options, collector);
    return await collector.answer;
  } finally {
    clearTimeout(timer);
  }
}
