// Several hosts of PostgreSQL, as DB_HOST may list them: which one a connection goes to.

/** https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-TARGET-SESSION-ATTRS */
export type SessionAttributes = 'any' | 'read-write' | 'primary';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What a server says of a session on it. */
export interface Session {
  readonly inRecovery: boolean;
  /** A standby, or default_transaction_read_only. */
  readonly readOnly: boolean;
}

/** A host that was not taken: what its session is like, or the error that it gave instead of one. */
export interface Passed extends Address {
  readonly met: Session | Error;
}

/** None of the hosts answered and was what is asked for. */
export class NoSuchHost extends Error {
  override readonly name = 'NoSuchHost';
  readonly code = 'NO_SUCH_HOST';
  readonly passed: readonly Passed[];

  constructor(passed: readonly Passed[]) {
    super('None of the hosts is what is asked for.');
    this.passed = passed;
  }
}

/** Milliseconds that one host may take to let a client in, and to say what it is. */
export const HOST_TIMEOUT_MS = 10_000;

/** invalid_authorization_specification, invalid_password, invalid_catalog_name: as libpq does, no other host is asked. */
const FINAL = new Set<unknown>(['28000', '28P01', '3D000', 'PASSWORD_MISSING']);

export class Hosts {
  readonly addresses: readonly Address[];
  readonly wanted: SessionAttributes;
  #found = 0;

  constructor(addresses: readonly Address[], wanted: SessionAttributes) {
    this.addresses = addresses;
    this.wanted = wanted;
  }

  /** Milliseconds after which a connection that is still not there will not be any more. */
  get timeoutMs(): number {
    return HOST_TIMEOUT_MS * (this.addresses.length + 1);
  }

  /**
   * The first that is what is asked for, in the order of the list; but the one that was found last comes first, so that not
   * every connection waits for a machine that is gone. Throws NoSuchHost, or what no other host could say better.
   */
  async find(ask: (address: Address) => Promise<Session>): Promise<Address> {
    const passed: Passed[] = [];
    for (const index of new Set([this.#found, ...this.addresses.keys()])) {
      const address = this.addresses[index];
      if (!address) continue;
      const met = await ask(address).catch((error: Error & { code?: unknown }) => {
        if (FINAL.has(error.code)) throw error;
        return error;
      });
      if (!(met instanceof Error) && this.#fits(met)) {
        this.#found = index;
        return address;
      }
      passed.push({ ...address, met });
    }
    throw new NoSuchHost(passed);
  }

  #fits({ inRecovery, readOnly }: Session): boolean {
    if (this.wanted === 'primary') return !inRecovery;
    return this.wanted === 'any' || !readOnly;
  }
}
