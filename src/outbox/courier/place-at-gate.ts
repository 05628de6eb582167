// One place among the sends at once, as a sender holds it.
import type { SendGate } from '../../fhir/faults/send-gate.ts';

/** A place that `admit` gave: given back once, however often that is asked for. */
export class PlaceAtGate {
  readonly #gate: SendGate;
  #held = true;

  constructor(gate: SendGate) {
    this.#gate = gate;
  }

  release(): void {
    if (this.#held) this.#gate.release();
    this.#held = false;
  }

  /** Waits without the place, then for a new one. */
  async without(work: () => Promise<void>): Promise<void> {
    this.release();
    await work();
    await this.#gate.admit();
    this.#held = true;
  }
}
