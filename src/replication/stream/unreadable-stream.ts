// The error of a connection whose bytes are not what PostgreSQL sends.

/** What came is not what PostgreSQL sends. Nothing of it is in the message. */
export class UnreadableStream extends Error {
  override readonly name = 'UnreadableStream';
  readonly code = 'UNREADABLE_STREAM';

  constructor(cause: unknown) {
    super('The replication stream cannot be read.', { cause });
  }
}
