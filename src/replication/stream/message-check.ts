// Reads what pgoutput sends, strictly: what is not exactly as the protocol has it is an error, and never a row that is left out.
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
import { isUtf8 } from 'node:buffer';
import type { Lsn } from '../../postgres/lsn.ts';

const [BEGIN, COMMIT, INSERT, MESSAGE, RELATION] = [...'BCIMR'].map((tag) => tag.charCodeAt(0));
const [NEW_TUPLE, NULL, TEXT] = [...'Nnt'].map((kind) => kind.charCodeAt(0));
const BEGIN_BYTES = 21;
const COMMIT_BYTES = 26;

/**
 * The order of the messages, and what the parser of the library does not look at. One bit that is another one in an LSN
 * would have an unfinished transaction acknowledged; so what is said twice (in the frame and in the message, at the begin and
 * at the commit) must be the same.
 */
export class MessageCheck {
  /** How many columns each relation has. */
  readonly #columns = new Map<number, number>();
  /** The LSN of the commit that the open transaction announced. */
  #open: bigint | null = null;

  /** `start` is the frame's. Throws where the message cannot be right. */
  check(message: Buffer, start: Lsn): void {
    switch (message[0]) {
      case BEGIN:
        if (this.#open !== null || message.length !== BEGIN_BYTES) throw new Error('A begin that cannot be.');
        this.#open = message.readBigUInt64BE(1);
        return;
      case COMMIT:
        if (message.length !== COMMIT_BYTES || message.readBigUInt64BE(2) !== this.#open)
          throw new Error('A commit that cannot be.');
        if (message.readBigUInt64BE(10) !== start || start <= this.#open)
          throw new Error('A commit that ends elsewhere.');
        this.#open = null;
        return;
      case MESSAGE:
        if (message.readBigUInt64BE(2) !== start) throw new Error('A message that was written elsewhere.');
        return;
      case RELATION:
        this.#checkRelation(message);
        return;
      case INSERT:
        if (this.#open === null) throw new Error('A row outside of a transaction.');
        this.#checkRow(message);
        return;
    }
  }

  #checkRelation(message: Buffer): void {
    // Namespace and name, each with a zero behind it, then the replica identity and the number of columns.
    const name = message.indexOf(0, 5) + 1;
    const at = name === 0 ? 0 : message.indexOf(0, name) + 1;
    if (at === 0 || at + 3 > message.length || !isUtf8(message.subarray(5, at)))
      throw new Error('A relation that cannot be.');
    this.#columns.set(message.readInt32BE(1), message.readInt16BE(at + 1));
  }

  /** Each column as a text or null: binary was not asked for, and an insert leaves nothing unchanged. */
  #checkRow(message: Buffer): void {
    const count = this.#columns.get(message.readInt32BE(1));
    if (count === undefined || message[5] !== NEW_TUPLE || message.readInt16BE(6) !== count)
      throw new Error('A row that does not have the columns of its relation.');
    let at = 8;
    for (let column = 0; column < count; column += 1) {
      const kind = message[at];
      at += 1;
      if (kind === NULL) continue;
      if (kind !== TEXT) throw new Error('A column of a kind that was not asked for.');
      const end = at + 4 + message.readUInt32BE(at);
      if (end > message.length || !isUtf8(message.subarray(at + 4, end))) throw new Error('A column that is no text.');
      at = end;
    }
    if (at !== message.length) throw new Error('A row with more than its columns.');
  }
}
