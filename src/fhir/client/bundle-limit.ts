// How many PUTs a Bundle may have: as many as the configuration says, until the server shows that it takes fewer.

/** A Bundle may meet a refusal that passes, such as of two writes that met: so many in a row are no chance. */
const IN_A_ROW = 3;

export class BundleLimit {
  readonly #onSmaller: (size: number) => void;
  #size: number;
  #inARow = 0;
  #smallest = Number.POSITIVE_INFINITY;

  /** `onSmaller` is told of each new limit. */
  constructor(size: number, onSmaller: (size: number) => void) {
    this.#size = size;
    this.#onSmaller = onSmaller;
  }

  get size(): number {
    return this.#size;
  }

  /** The server took a Bundle of so many. */
  taken(puts: number): void {
    if (puts >= this.#smallest) this.#forget();
  }

  /** The server refused a Bundle of so many, and then took each of its PUTs in smaller parts: it was not for one of them. */
  refusedAsSuch(puts: number): void {
    this.#inARow += 1;
    this.#smallest = Math.min(this.#smallest, puts);
    if (this.#inARow < IN_A_ROW) return;
    const size = Math.ceil(this.#smallest / 2);
    this.#forget();
    if (size >= this.#size) return;
    this.#size = size;
    this.#onSmaller(size);
  }

  #forget(): void {
    this.#inARow = 0;
    this.#smallest = Number.POSITIVE_INFINITY;
  }
}
