// Who may send now: so many deliveries at once, and none while the server (not one patient) fails.
import type { Fault } from './fault.ts';

/** `outage`: no answer or 503, probed by a control read. `refusing`: it answers and refuses everyone, tried with one delivery a second. */
export type GateState = 'flowing' | 'outage' | 'refusing';

const PROBE_INTERVAL_MS = 1000;
const PROBES_APART_MS = PROBE_INTERVAL_MS / 2;
/** A probe that a silent server has swallowed keeps the next one waiting no longer: the server may work again. */
const PROBE_PATIENCE_MS = 2000;
/** So many patients refused in a row, by the server's own answers and without a success between: it is the server. */
const REFUSALS_IN_A_ROW = 10;

/** Faults of the connection's credentials, never of one patient, even if others succeed. */
const NEVER_A_PATIENTS: ReadonlySet<string> = new Set(['unauthorized', 'insufficient-scope', 'http-431']);

/** Who waits for a place. */
interface Queued {
  resolve(): void;
  reject(error: Error): void;
}

export interface GateOptions {
  /** For deliveries at once; of those in one Bundle each has its own. */
  readonly places: number;
  /** A read that only a working server answers; null when it did. */
  probe(): Promise<Fault | null>;
  /** `fault`: what the state is for; null when the server works. */
  onState(state: GateState, fault: Fault | null): void;
}

/** Who is to blame for a refusal. */
export type Blamed = 'server' | 'patient';

/** Thrown to who was admitted and is not sent yet when an outage begins. */
export class SendsStopped extends Error {
  override readonly name = 'SendsStopped';
}

export class SendGate {
  readonly #options: GateOptions;
  #state: GateState = 'flowing';
  #inFlight = 0;
  #queue: Queued[] = [];
  #timer: NodeJS.Timeout | null = null;
  #closed: Error | null = null;
  #probesUnderWay = 0;
  #nextAnswer = Promise.withResolvers<void>();
  #untilMayAsk: { timer: NodeJS.Timeout; resume(): void } | null = null;
  #askedAt = Number.NEGATIVE_INFINITY;
  /** When the last probe that was answered, and the last that succeeded, was asked. */
  #answered = Number.NEGATIVE_INFINITY;
  #succeeded = Number.NEGATIVE_INFINITY;
  /** When the latest request that succeeded was begun, and the latest one of anybody else. */
  #lastSuccess = { who: '', begun: Number.NEGATIVE_INFINITY };
  #lastSuccessOfAnother = Number.NEGATIVE_INFINITY;
  /** Refused in a row. */
  #refused = new Set<string>();
  /** Why the last of them was refused. */
  #refusal: Fault | null = null;
  /** When the outage or the row of refusals began. */
  #troubleSince = Number.NEGATIVE_INFINITY;
  /** When the last hold ended for which the server refused everyone. */
  #heldUntil = Number.NEGATIVE_INFINITY;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  get state(): GateState {
    return this.#state;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Waits for one of the `places` and for the hold to end. Rejects with the reason of `close` once it was closed. */
  admit(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed);
      this.#queue.push({ resolve, reject });
      if (this.#state === 'flowing') this.#pump();
    });
  }

  /** Asked before each write of who was admitted, for it may have waited since: throws SendsStopped in an outage. */
  mustBeOpen(): void {
    if (this.#state === 'outage') throw new SendsStopped();
  }

  release(): void {
    this.#inFlight -= 1;
    if (this.#state === 'flowing') this.#pump();
  }

  /**
   * The server did what `who` asked at `begun` (performance.now()): a hold ends. An answer to what was asked before the
   * trouble began says nothing about it, however late it comes.
   */
  succeeded(who: string, begun: number): void {
    const last = this.#lastSuccess;
    if (who === last.who) last.begun = Math.max(last.begun, begun);
    else if (begun < last.begun) this.#lastSuccessOfAnother = Math.max(this.#lastSuccessOfAnother, begun);
    else {
      this.#lastSuccessOfAnother = last.begun;
      this.#lastSuccess = { who, begun };
    }
    if (begun < this.#troubleSince) return;
    this.#refused.clear();
    this.#change('flowing', null);
  }

  /** 503, a network error, a time-out: nothing more is sent until a probe succeeds. */
  unreachable(fault: Fault): void {
    if (this.#state !== 'outage') this.#troubleSince = performance.now();
    this.#change('outage', fault);
  }

  /**
   * Notes that the server refused `who`, or failed at it until its tries were used up, and says who is to blame: that patient,
   * or a server that refuses everybody, and then all are held. `refusedAt` is when this delivery was refused before
   * (performance.now()), null the first time; `failedAt` is when it was now, for it may have taken until after a hold to know
   * that it counts.
   */
  noteRefusal(who: string, fault: Fault, refusedAt: number | null, failedAt: number): Blamed {
    if (failedAt < this.#heldUntil) return 'server';
    if (!NEVER_A_PATIENTS.has(fault.code) && refusedAt !== null && this.#succeededSince(refusedAt, who))
      return 'patient';
    if (this.#refused.size === 0 && this.#state === 'flowing') this.#troubleSince = performance.now();
    this.#refused.add(who);
    this.#refusal = fault;
    const everyone =
      fault.disposition === 'hold' || this.#refused.size >= REFUSALS_IN_A_ROW || this.#state === 'refusing';
    if (everyone && this.#state === 'flowing') this.#change('refusing', fault);
    return everyone ? 'server' : 'patient';
  }

  /**
   * Does the server work after `time` (performance.now()), when `who` met a failure? Another's success or a control read
   * tells, if it was begun later. A failure counts against a patient only then: an outage burns nobody's attempts.
   */
  async worksAfter(time: number, who: string): Promise<boolean> {
    const seen = () => this.#succeededSince(time, who) || this.#succeeded >= time;
    while (!seen() && this.#answered < time && !this.#closed) await this.#probe();
    return seen();
  }

  /** Nobody is admitted any more, those who wait are told the reason; what is in flight may end. */
  close(reason: Error): void {
    this.#closed = reason;
    if (this.#timer) clearInterval(this.#timer);
    clearTimeout(this.#untilMayAsk?.timer);
    this.#untilMayAsk?.resume();
    this.#nextAnswer.resolve();
    for (const waiting of this.#queue.splice(0)) waiting.reject(reason);
  }

  #succeededSince(time: number, who: string): boolean {
    return (this.#lastSuccess.who === who ? this.#lastSuccessOfAnother : this.#lastSuccess.begun) >= time;
  }

  #pump(limit = Number.POSITIVE_INFINITY): void {
    for (let admitted = 0; admitted < limit && this.#inFlight < this.#options.places; admitted += 1) {
      const next = this.#queue.shift();
      if (!next) return;
      this.#inFlight += 1;
      next.resolve();
    }
  }

  #change(state: GateState, fault: Fault | null): void {
    if (state === this.#state || this.#closed) return;
    if (this.#state === 'refusing') this.#heldUntil = performance.now();
    this.#state = state;
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
    this.#options.onState(state, fault);
    if (state === 'flowing') {
      this.#pump();
      return;
    }
    this.#timer = setInterval(() => this.#tryAgain(), PROBE_INTERVAL_MS);
    if (state === 'outage') this.#tryAgain();
  }

  #tryAgain(): void {
    if (this.#state === 'outage') void this.#probe();
    // The queue goes round: who is refused again queues up at its end.
    else this.#pump(1);
  }

  /**
   * Resolves with the next answer to a probe. At most two are asked a second, whoever wants to know, and one at a time
   * unless it is swallowed.
   */
  #probe(): Promise<void> {
    if (this.#probesUnderWay === 0 || performance.now() - this.#askedAt >= PROBE_PATIENCE_MS) {
      this.#probesUnderWay += 1;
      void this.#askServer().finally(() => {
        this.#probesUnderWay -= 1;
        this.#nextAnswer.resolve();
        this.#nextAnswer = Promise.withResolvers();
      });
    }
    return this.#nextAnswer.promise;
  }

  async #askServer(): Promise<void> {
    const wait = Math.ceil(this.#askedAt + PROBES_APART_MS - performance.now());
    this.#askedAt = performance.now() + Math.max(0, wait);
    if (wait > 0)
      await new Promise<void>((resume) => {
        this.#untilMayAsk = { timer: setTimeout(resume, wait), resume };
      });
    if (this.#closed) return;
    const asked = performance.now();
    this.#askedAt = asked;
    const fault = await this.#options.probe();
    this.#answered = Math.max(this.#answered, asked);
    // What was asked before the trouble began, or before the server was last seen working, says nothing about now.
    const outdated = asked < Math.max(this.#troubleSince, this.#succeeded, this.#lastSuccess.begun);
    if (!fault) this.#succeeded = Math.max(this.#succeeded, asked);
    if (outdated) return;
    if (!fault) {
      // Reads alone do not end a hold: only a delivery can tell whether the server takes any again.
      if (this.#state === 'outage') {
        if (this.#refused.size >= REFUSALS_IN_A_ROW) this.#change('refusing', this.#refusal);
        else this.#change('flowing', null);
      }
    } else if (fault.stopsSends) this.unreachable(fault);
    // It answers, but not this question (it may allow no search): only deliveries can tell whether it works.
    else if (this.#state === 'outage' && fault.disposition !== 'retry') this.#change('refusing', fault);
  }
}
