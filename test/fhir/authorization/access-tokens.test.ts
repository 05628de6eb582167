// The token of the moment: when it is asked for, when it is renewed, and what happens when it cannot be.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AccessTokens, type TokenSource } from '../../../src/fhir/authorization/access-tokens.ts';

/** Gives tokens 1, 2, 3 … when it is let, or fails. */
class Source implements TokenSource {
  asked = 0;
  given = 0;
  fails = false;
  lifetimeS: number | undefined = 100;
  /** Resolved, all answers come at once. */
  gate: Promise<void> = Promise.resolve();

  async ask(): ReturnType<TokenSource['ask']> {
    this.asked += 1;
    await this.gate;
    if (this.fails) return { ok: false, cause: 'token', detail: 'HTTP 503' };
    this.given += 1;
    return { ok: true, token: { value: String(this.given), lifetimeS: this.lifetimeS } };
  }

  async close(): Promise<void> {}
}

const FAILED = { ok: false, cause: 'token', detail: 'HTTP 503' };
const bearer = (token: number) => ({ ok: true, header: `Bearer ${token}` });

let source: Source;
let tokens: AccessTokens;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  source = new Source();
  tokens = new AccessTokens(source);
});

afterEach(() => vi.useRealTimers());

const seconds = (count: number) => vi.advanceTimersByTime(count * 1000);
/** What was begun in the background ends. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('a token', () => {
  it('is asked for once, by whoever comes first, however many come', async () => {
    const all = await Promise.all(Array.from({ length: 50 }, () => tokens.header()));
    expect(new Set(all.map((shown) => JSON.stringify(shown)))).toEqual(new Set([JSON.stringify(bearer(1))]));
    seconds(79);
    expect(await tokens.header()).toEqual(bearer(1));
    expect(source.asked).toBe(1);
  });

  it('is renewed while it still serves, and nobody waits for that', async () => {
    await tokens.header();
    const open = Promise.withResolvers<void>();
    source.gate = open.promise;
    seconds(80);
    for (let turn = 1; turn <= 10; turn += 1) expect(await tokens.header()).toEqual(bearer(1));
    expect(source.asked).toBe(2);
    open.resolve();
    await settled();
    expect(await tokens.header()).toEqual(bearer(2));
    expect(source.asked).toBe(2);
  });

  it('serves to its end while no other can be had, and no longer', async () => {
    await tokens.header();
    source.fails = true;
    for (const at of [80, 85, 99.9]) {
      seconds(at - performance.now() / 1000);
      expect(await tokens.header()).toEqual(bearer(1));
      await settled();
    }
    seconds(0.2);
    expect(await tokens.header()).toEqual(FAILED);
  });

  it('lives from when it was asked for, not from when it came', async () => {
    const open = Promise.withResolvers<void>();
    source.gate = open.promise;
    const first = tokens.header();
    seconds(90);
    open.resolve();
    expect(await first).toEqual(bearer(1));
    seconds(11);
    expect(await tokens.header()).toEqual(bearer(2));
  });

  it('that lives for no time at all is asked for once a second', async () => {
    source.lifetimeS = 0;
    for (let turn = 1; turn <= 100; turn += 1) await tokens.header();
    await settled();
    expect(source.asked).toBe(1);
    seconds(1.1);
    await tokens.header();
    expect(source.asked).toBe(2);
  });

  it('of which nobody says how long it lives serves for five minutes', async () => {
    source.lifetimeS = undefined;
    await tokens.header();
    seconds(239);
    await tokens.header();
    await settled();
    expect(source.asked).toBe(1);
    seconds(62);
    expect(await tokens.header()).toEqual(bearer(2));
  });
});

describe('a token endpoint that fails', () => {
  it('is asked less and less often, at most every ten seconds, and at once again after a success', async () => {
    source.fails = true;
    const askedAt: number[] = [];
    for (let at = 0; at < 40; at += 0.25) {
      const before = source.asked;
      expect(await tokens.header()).toEqual(FAILED);
      if (source.asked > before) askedAt.push(at);
      seconds(0.25);
    }
    expect(askedAt).toEqual([0, 1, 3, 8, 18, 28, 38]);
    seconds(10);
    source.fails = false;
    expect(await tokens.header()).toEqual(bearer(1));
    source.fails = true;
    seconds(101);
    expect(await tokens.header()).toEqual(FAILED);
    seconds(1);
    source.fails = false;
    expect(await tokens.header()).toEqual(bearer(2));
  });
});

describe('a token that the FHIR server refuses', () => {
  it('is renewed once, however many requests it was refused to', async () => {
    await tokens.header();
    seconds(20);
    const renewed = await Promise.all(Array.from({ length: 50 }, () => tokens.renewed('Bearer 1')));
    expect(new Set(renewed.map((shown) => JSON.stringify(shown)))).toEqual(new Set([JSON.stringify(bearer(2))]));
    // Who comes late is given what is there.
    expect(await tokens.renewed('Bearer 1')).toEqual(bearer(2));
    expect(source.asked).toBe(2);
    expect(await tokens.header()).toEqual(bearer(2));
  });

  it('is not renewed when it was asked for just now: another one would be refused as well', async () => {
    await tokens.header();
    seconds(9);
    expect(await tokens.renewed('Bearer 1')).toBeNull();
    expect(source.asked).toBe(1);
    seconds(1);
    expect(await tokens.renewed('Bearer 1')).toEqual(bearer(2));
    expect(await tokens.renewed('Bearer 2')).toBeNull();
  });

  it('stays when no other can be had, and why is told', async () => {
    await tokens.header();
    seconds(20);
    source.fails = true;
    expect(await tokens.renewed('Bearer 1')).toEqual(FAILED);
    expect(await tokens.header()).toEqual(bearer(1));
  });

  it('is not replaced by one whose time is over', async () => {
    await tokens.header();
    seconds(101);
    expect(await tokens.renewed('Bearer 0')).toEqual(bearer(2));
  });
});
