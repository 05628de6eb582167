// What happens on a connection until PostgreSQL lets the client in: pg's errors alone do not tell, for most have no code.
import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { errorCode } from './errors.ts';

/** Of pg's client; its types have it not. */
export type Connection = EventEmitter & { readonly stream: Socket };

/** https://www.postgresql.org/docs/current/protocol-message-formats.html , as pg names those messages. */
const PASSWORD_REQUESTS = ['authenticationCleartextPassword', 'authenticationMD5Password', 'authenticationSASL'];

/** pg gives this error no code: PostgreSQL answers the wish for TLS with one of two bytes, and this was another. */
const NO_ANSWER_TO_TLS = 'There was an error establishing an SSL connection';

export class Login {
  readonly #socket: Socket;
  #passwordAsked = false;
  #failed = false;
  #letIn = false;
  #closed = false;

  /** To be made before the client connects. */
  constructor(connection: Connection) {
    // With TLS the connection gets another one.
    this.#socket = connection.stream;
    for (const request of PASSWORD_REQUESTS)
      connection.once(request, () => {
        this.#passwordAsked = true;
      });
    connection.once('authenticationOk', () => {
      this.#letIn = true;
    });
    connection.once('error', () => {
      this.#failed = true;
    });
    connection.once('end', () => {
      this.#closed = !this.#failed;
    });
  }

  /** The code for what the login failed with; null where the error's own says it, or nobody knows. */
  codeFor(error: Error, password: unknown): 'PASSWORD_MISSING' | 'CLOSED_BEFORE_LOGIN' | null {
    if (this.#passwordAsked && !password) return 'PASSWORD_MISSING';
    if (this.#letIn) return null;
    const code = errorCode(error);
    if (code === 'ECONNRESET') return this.#socket.bytesRead === 0 ? 'CLOSED_BEFORE_LOGIN' : null;
    return code === null && (this.#closed || error.message === NO_ANSWER_TO_TLS) ? 'CLOSED_BEFORE_LOGIN' : null;
  }
}
