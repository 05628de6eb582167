// Waits for many deliveries without keeping those that are done: a transaction may have a million.

/** Counts those that are open and remembers the first failure, and nothing else. */
export class Completion {
  #open = 0;
  #failure: { readonly error: unknown } | null = null;
  readonly #waiting = new Set<PromiseWithResolvers<void>>();

  add(done: Promise<void>): void {
    this.#open += 1;
    done.then(
      () => {
        this.#open -= 1;
        if (this.#open === 0) for (const { resolve } of this.#waiting) resolve();
      },
      (error: unknown) => {
        this.#failure ??= { error };
        for (const { reject } of this.#waiting) reject(error);
      },
    );
  }

  /** Resolves once all that were added are done; rejects as soon as one has failed. */
  all(): Promise<void> {
    const waiting = Promise.withResolvers<void>();
    if (this.#failure) waiting.reject(this.#failure.error);
    else if (this.#open === 0) waiting.resolve();
    else this.#waiting.add(waiting);
    return waiting.promise;
  }
}
