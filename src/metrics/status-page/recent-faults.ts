// The newest warnings and errors of the log, kept for the status page: what they say of themselves, never more.

/** pino's numbers: 40 warn, 50 error, 60 fatal. https://getpino.io/#/docs/api?id=loggerlevel-string-gettersetter */
const WARN = 40;
const MOST = 20;
/** Of what a line may carry: ids and codes. */
const SHOWN = ['code', 'status', 'eventKey', 'txid', 'reason', 'process', 'role', 'openSeconds'] as const;

export interface RecentFault {
  readonly at: string;
  readonly level: 'warning' | 'error';
  readonly message: string;
  readonly details: Readonly<Partial<Record<(typeof SHOWN)[number], string | number>>>;
  /** How often it came; the details are those of the last time. */
  readonly times: number;
}

export class RecentFaults {
  #faults: RecentFault[] = [];

  /** As pino's hook `logMethod` has it: an object and a sentence, or the sentence alone. */
  note(level: number, args: readonly unknown[]): void {
    if (level < WARN) return;
    const [first, second] = args;
    const message = typeof first === 'string' ? first : typeof second === 'string' ? second : '';
    const fields = typeof first === 'object' && first !== null ? (first as Record<string, unknown>) : {};
    const details = Object.fromEntries(
      SHOWN.flatMap((name) => {
        const value = fields[name];
        return typeof value === 'string' || typeof value === 'number' ? [[name, value]] : [];
      }),
    );
    const before = this.#faults.find((other) => other.message === message);
    const times = (before?.times ?? 0) + 1;
    // Two that alternate must not push out all others.
    const rest = this.#faults.filter((other) => other !== before);
    const fault = {
      at: new Date().toISOString(),
      level: level > WARN ? 'error' : 'warning',
      message,
      details,
      times,
    } as const;
    this.#faults = [fault, ...rest].slice(0, MOST);
  }

  /** The newest first. */
  get newest(): readonly RecentFault[] {
    return this.#faults;
  }
}
