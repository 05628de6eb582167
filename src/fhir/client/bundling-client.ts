// A FHIR client that sends PUTs of different patients together, in transaction Bundles, when several are ready at once.
//
// For who calls it nothing is different: each PUT has an answer or a fault of its own. A Bundle that is refused is sent
// again in halves, until what is refused stands alone, as the plain PUT that it would have been. Of a Bundle without an
// answer, or with one of a server that fails, nothing is known: each of its PUTs is told so, goes alone from then on (it
// is `uncertain`), and only what it meets then counts against its patient.

import { type Fault, faultOf } from '../faults/fault.ts';
import { hasIdentifier, identifiersIn } from '../model/identifiers.ts';
import type { Resource } from '../model/resource-types.ts';
import { type Token, tokenKey } from '../model/token.ts';
import type { BundleLimit } from './bundle-limit.ts';
import type { CapabilitiesAnswer } from './capabilities.ts';
import type {
  CountAnswer,
  FhirClient,
  PageAnswer,
  ReadAnswer,
  SearchAnswer,
  Sending,
  TransactionAnswer,
  WriteAnswer,
} from './fhir-client.ts';
import { takeTogether, type Waiting } from './gathering.ts';
import type { PlainFhirClient } from './plain-client.ts';
import { type Put, putOfId, putOfIdentifier } from './put.ts';
import type { WrittenEntry } from './transaction-bundle.ts';

interface Call extends Waiting {
  /** Sends it as a request of its own. Resolves to whether it was done. */
  alone(): Promise<boolean>;
  /** Answers it without sending. */
  answer(answer: WriteAnswer): void;
  fail(error: unknown): void;
  readonly sending: Sending | undefined;
}

/** A PUT that may travel with others. */
type Bundled = Call & { readonly put: Put };

export class BundlingFhirClient implements FhirClient {
  readonly #plain: PlainFhirClient;
  readonly #requests: number;
  readonly #limit: BundleLimit;
  readonly #waiting: Call[] = [];
  #running = 0;
  #looks = false;

  /** `requests`: so many are under way at once. */
  constructor(plain: PlainFhirClient, requests: number, limit: BundleLimit) {
    this.#plain = plain;
    this.#requests = requests;
    this.#limit = limit;
  }

  async putByIdentifier(
    resource: Resource,
    identifier: Token,
    eventKey: string,
    sending?: Sending,
  ): Promise<WriteAnswer> {
    return await this.#put(resource, putOfIdentifier(resource, identifier, eventKey), sending);
  }

  async putById(
    resource: Resource,
    id: string,
    versionId: string | null,
    eventKey: string,
    sending?: Sending,
  ): Promise<WriteAnswer> {
    return await this.#put(resource, putOfId(resource, id, versionId, eventKey), sending);
  }

  deleteById(type: string, id: string, eventKey: string, sending?: Sending): Promise<WriteAnswer> {
    return this.#single(() => this.#plain.deleteById(type, id, eventKey, sending));
  }

  search(type: string, identifier: Token): Promise<SearchAnswer> {
    return this.#single(() => this.#plain.search(type, identifier));
  }

  read(type: string, id: string, versionId?: string): Promise<ReadAnswer> {
    return this.#single(() => this.#plain.read(type, id, versionId));
  }

  count(type: string): Promise<CountAnswer> {
    return this.#single(() => this.#plain.count(type));
  }

  list(type: string, system: string | null, elements: readonly string[], next: string | null): Promise<PageAnswer> {
    return this.#single(() => this.#plain.list(type, system, elements, next));
  }

  // These two have a connection of their own.
  probe(): Promise<Fault | null> {
    return this.#plain.probe();
  }

  capabilities(): Promise<CapabilitiesAnswer> {
    return this.#plain.capabilities();
  }

  close(): Promise<void> {
    return this.#plain.close();
  }

  #put(resource: Resource, put: Put, sending: Sending | undefined): Promise<WriteAnswer> {
    const alone = () => this.#plain.put(put, sending);
    if (sending?.uncertain) return this.#single(alone);
    const identifiers = identifiersIn({ ...resource }).map(tokenKey);
    const keys = 'id' in put.by ? [`${put.type}/${put.by.id}`, ...identifiers] : identifiers;
    const { promise, resolve, reject } = Promise.withResolvers<WriteAnswer>();
    const settling = async () => await settle(alone, resolve, reject);
    this.#add({ put, keys, sending, alone: settling, answer: resolve, fail: reject });
    return promise;
  }

  /** A call that goes alone, in its turn. */
  #single<A extends { readonly ok: boolean }>(call: () => Promise<A>): Promise<A> {
    const { promise, resolve, reject } = Promise.withResolvers<A>();
    const alone = async () => await settle(call, resolve, reject);
    this.#add({ put: null, keys: [], sending: undefined, alone, answer: () => undefined, fail: reject });
    return promise;
  }

  #add(call: Call): void {
    this.#waiting.push(call);
    this.#look();
  }

  /** At the end of this turn of the event loop: what else is ready in it goes along, and nobody waits for more. */
  #look(): void {
    if (this.#looks || this.#running === this.#requests) return;
    this.#looks = true;
    setImmediate(() => {
      this.#looks = false;
      while (this.#running < this.#requests && this.#waiting.length > 0)
        void this.#run(takeTogether(this.#waiting, this.#limit.size));
    });
  }

  async #run(calls: readonly Call[]): Promise<void> {
    this.#running += 1;
    try {
      await this.#send(calls);
    } catch (error) {
      for (const call of calls) call.fail(error);
    } finally {
      this.#running -= 1;
      this.#look();
    }
  }

  /** Resolves to whether all was done. */
  async #send(calls: readonly Call[]): Promise<boolean> {
    const [first] = calls;
    if (!first || calls.length === 1) return first?.alone() ?? true;
    if (calls.length > this.#limit.size) return await this.#halve(calls);
    const bundled = calls.filter(isBundled).filter(stillGoes);
    if (bundled.length < calls.length) {
      await this.#send(bundled);
      return false;
    }
    let sent: TransactionAnswer;
    try {
      sent = await this.#plain.transaction(
        bundled.map(({ put }) => put),
        sendingOf(bundled),
      );
    } catch (error) {
      // The token took long, and meanwhile one of them may not be sent any more.
      const left = bundled.filter(stillGoes);
      if (left.length === bundled.length) throw error;
      await this.#send(left);
      return false;
    }
    if (sent.ok) {
      this.#limit.taken(calls.length);
      for (const [at, call] of bundled.entries()) await this.#done(call, sent.written[at] as WrittenEntry);
      return true;
    }
    const { fault } = sent;
    if (fault.disposition === 'halve') {
      const done = await this.#halve(calls);
      if (done) this.#limit.refusedAsSuch(calls.length);
      return done;
    }
    // A server that answers so to all Bundles has none taken in the end.
    if (fault.code === 'bundle-unreadable') this.#limit.refusedAsSuch(2);
    // Whose fault it was nobody can know, so it is nobody's.
    for (const call of calls) call.answer({ ok: false, fault: { ...fault, attempt: 'never' } });
    return false;
  }

  /**
   * One after the other: a Bundle has one request at a time, whatever becomes of it. First those by id: on a server that has
   * lost its data a new resource of the one half may have the id, and the version, that the other half goes by.
   */
  async #halve(calls: readonly Call[]): Promise<boolean> {
    const ordered = [...calls.filter(isById), ...calls.filter((call) => !isById(call))];
    const middle = Math.ceil(calls.length / 2);
    const first = await this.#send(ordered.slice(0, middle));
    const second = await this.#send(ordered.slice(middle));
    return first && second;
  }

  /** A server that sends no resource back is asked for it: nothing but the order says whose a new one is. */
  async #done({ put, answer }: Bundled, { proven, ...written }: WrittenEntry): Promise<void> {
    if (!proven && 'identifier' in put.by) {
      const found = await this.#plain.read(put.type, written.id);
      if (!found.ok || !hasIdentifier(found.resource, put.by.identifier))
        return answer({ ok: false, fault: faultOf('bundle-unreadable') });
    }
    answer({ ok: true, ...written });
  }
}

function isBundled(call: Call): call is Bundled {
  return call.put !== null;
}

function isById({ put }: Call): boolean {
  return put !== null && 'id' in put.by;
}

/** The Bundle may be sent while each of them may; it has the trace of its first. */
function sendingOf(bundled: readonly Bundled[]): Sending {
  return {
    mayBeSent() {
      for (const { sending } of bundled) sending?.mayBeSent();
    },
    uncertain: false,
    traceparent: bundled[0]?.sending?.traceparent,
  };
}

/** It may have waited: what may not be sent any more leaves the Bundle, and the others go. */
function stillGoes({ sending, fail }: Call): boolean {
  try {
    sending?.mayBeSent();
    return true;
  } catch (error) {
    fail(error);
    return false;
  }
}

async function settle<A extends { readonly ok: boolean }>(
  call: () => Promise<A>,
  resolve: (answer: A) => void,
  reject: (error: unknown) => void,
): Promise<boolean> {
  try {
    const answer = await call();
    resolve(answer);
    return answer.ok;
  } catch (error) {
    reject(error);
    return false;
  }
}
