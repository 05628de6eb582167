// Back-pressure: how much may be taken from the stream before something is finished.
import { untilAborted } from '../../pause.ts';

/** Memory of the states that wait to be sent, in bytes of their rows. */
const MAX_BYTES = 16 * 1024 * 1024;
/** Deliveries known by their ids only (parked behind a patient that waits for a retry) are small, but not nothing. */
const MAX_DELIVERIES = 20_000;
/** What a round trip for look-up and one for the record keep under way at some thousand deliveries a second. */
const LEAST_RUNNABLE = 256;

export class Window {
  readonly #maxRunnable: number;
  #bytes = 0;
  #runnable = 0;
  #deliveries = 0;
  #waiting: (() => void)[] = [];

  /**
   * `concurrency`: deliveries that are sent at once. Several times as many are on their way through look-up and record
   * meanwhile, each of which is one round trip for hundreds; more would only use memory, and for so long that V8 takes
   * what they keep for old and collects it by its expensive way.
   */
  constructor(concurrency: number) {
    this.#maxRunnable = Math.max(LEAST_RUNNABLE, 4 * concurrency);
  }

  get deliveries(): number {
    return this.#deliveries;
  }

  get hasRoom(): boolean {
    return this.#bytes < MAX_BYTES && this.#runnable < this.#maxRunnable && this.#deliveries < MAX_DELIVERIES;
  }

  /** Waits until there is room; rejects with the signal's reason when it is aborted. */
  async room(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    while (!this.hasRoom) await untilAborted(new Promise<void>((resolve) => this.#waiting.push(resolve)), signal);
  }

  enter(bytes: number): void {
    this.#deliveries += 1;
    this.#bytes += bytes;
  }

  leave(bytes: number): void {
    this.#deliveries -= 1;
    this.freeBytes(bytes);
  }

  freeBytes(bytes: number): void {
    this.#bytes -= bytes;
    this.#wake();
  }

  becomeRunnable(): void {
    this.#runnable += 1;
  }

  /** It is finished, or it waits for a retry and must not keep others from being read. */
  stopBeingRunnable(): void {
    this.#runnable -= 1;
    this.#wake();
  }

  #wake(): void {
    if (this.#waiting.length === 0 || !this.hasRoom) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
