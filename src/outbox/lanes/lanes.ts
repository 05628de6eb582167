// Lanes: whoever shares a key goes in order of entry; who shares none goes at once.

/** A place in several lanes, taken in one synchronous step. Because all enter in stream order, nobody can wait in a circle. */
export interface Place<T> {
  readonly item: T;
  /** First in each of its lanes: it may start. */
  readonly ready: Promise<void>;
}

interface OpenPlace<T> extends Place<T> {
  keys: string[];
  /** In how many lanes somebody is before it. */
  behind: number;
  started: boolean;
  resolve: () => void;
}

/** Knows who is in which lane, and lets each start when it is the first in all of its own. */
export class Lanes<T> {
  readonly #lanes = new Map<string, OpenPlace<T>[]>();

  /** Takes the last place in each lane; a lane that nobody is in exists no more. */
  enter(item: T, keys: Iterable<string>): Place<T> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const place: OpenPlace<T> = { item, keys: [...new Set(keys)], ready: promise, behind: 0, started: false, resolve };
    for (const key of place.keys) {
      const lane = this.#lanes.get(key);
      if (lane) {
        lane.push(place);
        place.behind += 1;
      } else this.#lanes.set(key, [place]);
    }
    this.#startIfFirst(place);
    return place;
  }

  /**
   * A started place needs one more lane after all. It goes before all that have not started, so nobody starts in that
   * lane meanwhile, and waits only for those that run: they hold every lane they need, so they will end. Null when there
   * is nobody to wait for.
   */
  claim(claimant: Place<T>, key: string): Promise<void> | null {
    const place = claimant as OpenPlace<T>;
    if (place.keys.includes(key)) return null;
    place.keys.push(key);
    const lane = this.#lanes.get(key);
    if (!lane) {
      this.#lanes.set(key, [place]);
      return null;
    }
    const running = lane.findIndex((other) => !other.started);
    const index = running === -1 ? lane.length : running;
    lane.splice(index, 0, place);
    if (index > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      place.behind = 1;
      place.resolve = resolve;
      return promise;
    }
    // The former first has not started: it waits in one lane more.
    const displaced = lane[1];
    if (displaced) displaced.behind += 1;
    return null;
  }

  /** Frees the place; the next in each lane moves up. */
  leave(left: Place<T>): void {
    const place = left as OpenPlace<T>;
    for (const key of place.keys) {
      const lane = this.#lanes.get(key);
      if (!lane) continue;
      const index = lane.indexOf(place);
      lane.splice(index, 1);
      if (lane.length === 0) this.#lanes.delete(key);
      else if (index === 0) {
        const next = lane[0];
        if (next) {
          next.behind -= 1;
          this.#startIfFirst(next);
        }
      }
    }
  }

  first(key: string): T | undefined {
    return this.#lanes.get(key)?.[0]?.item;
  }

  /** Everyone in the lane, first one first. */
  in(key: string): readonly T[] {
    return this.#lanes.get(key)?.map((place) => place.item) ?? [];
  }

  #startIfFirst(place: OpenPlace<T>): void {
    if (place.behind > 0) return;
    place.started = true;
    place.resolve();
  }
}
