// A bounded queue between the socket's events and a `for await` loop: it pauses the socket, and it fails once, loudly.
import { setImmediate } from 'node:timers/promises';

const HIGH_WATER_BYTES = 512 * 1024;
const LOW_WATER_BYTES = 128 * 1024;
/** Fifty small transactions: a millisecond or two, in which no answer to a PUT is read and none is sent. */
const MAX_BATCH = 150;

/** What the queue slows down. */
interface Pausable {
  pause(): void;
  resume(): void;
}

/**
 * The socket pushes, and one loop reads in batches. Above HIGH_WATER_BYTES the source is paused, below LOW_WATER_BYTES it
 * goes on: what waits for the FHIR server waits in PostgreSQL, and not in our memory.
 */
export class MessageQueue<T> implements AsyncIterable<readonly T[]> {
  readonly #source: Pausable;
  #items: T[] = [];
  #sizes: number[] = [];
  #bytes = 0;
  #paused = false;
  #ended: { error: Error | null } | null = null;
  #wake: (() => void) | null = null;

  constructor(source: Pausable) {
    this.#source = source;
  }

  push(item: T, bytes: number): void {
    if (this.#ended) return;
    this.#items.push(item);
    this.#sizes.push(bytes);
    this.#bytes += bytes;
    if (this.#bytes > HIGH_WATER_BYTES && !this.#paused) {
      this.#paused = true;
      this.#source.pause();
    }
    this.#wake?.();
  }

  /** Ends the queue; the first end counts. With an error what is still queued is dropped: it will be sent again. */
  end(error: Error | null): void {
    this.#ended ??= { error };
    this.#wake?.();
  }

  /** Yields what has arrived, in order and not too much of it at once: between two batches others have their turn. */
  async *[Symbol.asyncIterator](): AsyncGenerator<readonly T[]> {
    for (;;) {
      if (this.#ended) {
        if (this.#ended.error) throw this.#ended.error;
        return;
      }
      if (this.#items.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = null;
        continue;
      }
      const batch = this.#items.splice(0, MAX_BATCH);
      yield batch;
      for (const bytes of this.#sizes.splice(0, batch.length)) this.#bytes -= bytes;
      // Only once the batch has been worked off may the socket go on; what arrived meanwhile is counted already.
      if (this.#paused && this.#bytes < LOW_WATER_BYTES) {
        this.#paused = false;
        this.#source.resume();
      }
      if (this.#items.length > 0) await setImmediate();
    }
  }
}
