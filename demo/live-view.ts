// Shows each transaction as soon as it is delivered and acknowledged: txid → outbox rows → PUT → FHIR id and version → LSN.

import { setTimeout as sleep } from 'node:timers/promises';
import { styleText } from 'node:util';
import { alignedLine } from '../src/cli/output.ts';
import { formatLsn, LSN_ZERO, type Lsn } from '../src/postgres/lsn.ts';
import type { FhirWrite } from './fhir-write.ts';
import type { Delivery, Watch, WatchedTransaction } from './watch.ts';

export type Say = (line: string) => void;

const HEADER = ['txid', 'outbox row', 'request', 'answer', 'acknowledged'];
const WIDTHS = [5, 30, 38, 20, 0];
/** Of a transaction with more patients, the first ones stand for all. */
const MAX_DELIVERIES = 8;
const INTERVAL_MS = { settling: 50, following: 150 };
/** A second or two is usual; a machine that is busy with other things may take far longer. */
const SETTLE_TIMEOUT_MS = 120_000;

export class LiveView {
  readonly #watch: Watch;
  readonly #say: Say;
  readonly #writes: Map<string, FhirWrite>;
  #shown = 0;
  #lastCommit = LSN_ZERO;

  /** `writes`: what the FHIR server was asked, by "Patient/6 v1"; what was shown is removed from it. */
  constructor(watch: Watch, writes: Map<string, FhirWrite>, say: Say) {
    this.#watch = watch;
    this.#writes = writes;
    this.#say = say;
  }

  /** How many transactions were shown so far. */
  get shown(): number {
    return this.#shown;
  }

  /** The end of the last commit that was shown. */
  get lastCommit(): Lsn {
    return this.#lastCommit;
  }

  header(): void {
    this.#say(styleText('dim', alignedLine(HEADER, WIDTHS)));
  }

  /** Until everything that is committed now has been shown. Rejects with a sentence when that takes too long. */
  async settle(signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + SETTLE_TIMEOUT_MS;
    for (;;) {
      await this.#show();
      if (this.#watch.waiting === 0) return;
      if (performance.now() > deadline)
        throw new Error(`${await this.#watch.whatWaits()} after ${SETTLE_TIMEOUT_MS / 1000} seconds.`);
      await sleep(INTERVAL_MS.settling, undefined, { signal });
    }
  }

  /** Until the signal is aborted, which it rejects with. */
  async follow(signal: AbortSignal): Promise<never> {
    for (;;) {
      await this.#show();
      await sleep(INTERVAL_MS.following, undefined, { signal });
    }
  }

  async #show(): Promise<void> {
    for (const transaction of await this.#watch.look()) {
      this.#shown += 1;
      this.#lastCommit = transaction.endLsn;
      for (const line of this.#linesOf(transaction)) this.#say(line);
    }
  }

  #linesOf({ txid, deliveries, ...commit }: WatchedTransaction): string[] {
    const shown = deliveries.length > MAX_DELIVERIES ? deliveries.slice(0, MAX_DELIVERIES / 2) : deliveries;
    const acknowledged = acknowledgement(commit, deliveries);
    const cells = shown.flatMap((delivery) => {
      const [request, answer] = this.#outcomeOf(delivery);
      return delivery.rows.map(({ id, operation, table }, row) => [
        `${id} ${operation} ${table}`,
        ...(row === 0 ? [request, answer] : ['', '']),
      ]);
    });
    const lines = cells.map(([row = '', request = '', answer = ''], line) =>
      alignedLine(line === 0 ? [txid, row, request, answer, acknowledged] : ['', row, request, answer], WIDTHS),
    );
    const others = deliveries.slice(shown.length);
    for (const { fhirId, versionId } of others) this.#writes.delete(`Patient/${fhirId} v${versionId}`);
    const rows = others.reduce((sum, delivery) => sum + delivery.rows.length, 0);
    return others.length === 0 ? lines : [...lines, `       … and ${others.length} more patients, ${rows} outbox rows`];
  }

  #outcomeOf({ end, fhirId, versionId, reason }: Delivery): [request: string, answer: string] {
    const version = fhirId === null ? null : `Patient/${fhirId} v${versionId}`;
    const write = version === null ? undefined : this.#writes.get(version);
    if (version !== null) this.#writes.delete(version);
    const request = write ? requestLine(write) : '—';
    if (end === 'dead-letter') return [request, styleText('yellow', `dead letter: ${reason}`)];
    if (end === 'removed') return [request, 'its outbox row was removed'];
    if (end === 'superseded') return [request, 'superseded by a newer state'];
    if (version === null) return ['nothing to send', 'never was on the server'];
    return [request, styleText('green', `${write?.status ?? ''} ${version}`.trim())];
  }
}

function requestLine({ method, target, ifMatch }: FhirWrite): string {
  // The value is what people know; its system is the same for all of them.
  const short = target.replace(/identifier=(?:\\.|[^\\|])+\|/, 'identifier=…|');
  return `${method} ${short}${ifMatch === null ? '' : `  If-Match ${ifMatch}`}`;
}

function acknowledgement(
  { endLsn, beforeSlot, committedAt }: Omit<WatchedTransaction, 'txid' | 'deliveries'>,
  deliveries: readonly Delivery[],
): string {
  if (beforeSlot) return 'caught up';
  const finishedAt = deliveries.flatMap(({ end, finishedAt }) =>
    end === 'delivered' && finishedAt ? [finishedAt] : [],
  );
  if (finishedAt.length === 0) return formatLsn(endLsn);
  const ms = Math.max(...finishedAt.map((at) => at.getTime() - committedAt.getTime()));
  return `${formatLsn(endLsn)}, ${Math.max(0, ms)} ms`;
}
