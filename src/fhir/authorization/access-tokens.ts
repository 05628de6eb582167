// The access token of the moment: asked for when it is needed, renewed before it ends, by one request at a time.

import type { Failure } from '../faults/fault.ts';
import type { Credentials, Shown } from './credentials.ts';

/** `expires_in` is recommended, not required; whoever gives out tokens that live shorter than this says so. */
const DEFAULT_LIFETIME_MS = 300_000;
/** After this part of its life it is renewed, while it still serves. */
const RENEWED_AFTER = 0.8;
/** Whoever says that a token lives shorter is asked no more often than this. */
const SHORTEST_LIFETIME_MS = 1000;
/** A token as young as this that is refused is refused for another reason than its age. */
const RENEWALS_APART_MS = 10_000;
/** After failures in a row, so that a wrong secret does not lock the account. */
const WAITS_MS = [1000, 2000, 5000, 10_000];

/** `lifetimeS` in seconds from when it was asked for; undefined when the server does not say. */
export interface AccessToken {
  readonly value: string;
  readonly lifetimeS: number | undefined;
}

/** Asks the authorization server for tokens. */
export interface TokenSource {
  /** One, or why there is none. Throws only for faults of this program. */
  ask(): Promise<{ ok: true; token: AccessToken } | ({ ok: false } & Failure)>;
  /** Breaks off what is asked for. */
  close(): Promise<void>;
}

interface Held {
  readonly header: string;
  /** By performance.now(), as the others. */
  readonly askedAt: number;
  readonly renewAt: number;
  readonly endsAt: number;
}

export class AccessTokens implements Credentials {
  readonly #source: TokenSource;
  #held: Held | null = null;
  #renewal: Promise<Shown> | null = null;
  #failures = 0;
  #failed: { readonly shown: Shown; readonly until: number } | null = null;

  constructor(source: TokenSource) {
    this.#source = source;
  }

  async header(): Promise<Shown> {
    const held = this.#held;
    const now = performance.now();
    if (held === null || now >= held.endsAt) return await this.#renew();
    // Nobody waits for it, and what goes wrong is told to whoever has no token any more.
    if (now >= held.renewAt) this.#renew().catch(() => undefined);
    return { ok: true, header: held.header };
  }

  async renewed(refused: string): Promise<Shown | null> {
    const held = this.#held;
    if (held === null || held.header !== refused) return await this.header();
    return performance.now() - held.askedAt < RENEWALS_APART_MS ? null : await this.#renew();
  }

  close(): Promise<void> {
    return this.#source.close();
  }

  /** One at a time, whoever wants it; not at once after it failed. */
  #renew(): Promise<Shown> {
    if (this.#failed !== null && performance.now() < this.#failed.until) return Promise.resolve(this.#failed.shown);
    this.#renewal ??= this.#askNow().finally(() => {
      this.#renewal = null;
    });
    return this.#renewal;
  }

  async #askNow(): Promise<Shown> {
    const askedAt = performance.now();
    const answer = await this.#source.ask();
    if (!answer.ok) {
      const wait = WAITS_MS[Math.min(this.#failures, WAITS_MS.length - 1)] ?? 0;
      this.#failures += 1;
      this.#failed = { shown: answer, until: performance.now() + wait };
      return answer;
    }
    const { value, lifetimeS } = answer.token;
    const saidMs = lifetimeS === undefined ? DEFAULT_LIFETIME_MS : lifetimeS * 1000;
    const lifetimeMs = Math.max(SHORTEST_LIFETIME_MS, saidMs);
    const header = `Bearer ${value}`;
    this.#held = { header, askedAt, renewAt: askedAt + RENEWED_AFTER * lifetimeMs, endsAt: askedAt + lifetimeMs };
    this.#failures = 0;
    this.#failed = null;
    return { ok: true, header };
  }
}
