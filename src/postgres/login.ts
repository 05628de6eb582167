// What happens on a connection until PostgreSQL lets the client in: pg's errors alone do not tell, for most have no code.
import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';

/** Of pg's client; its types have it not. */
export type Connection = EventEmitter & { readonly stream: Socket };

export interface Login {
  /** PostgreSQL asked for a password. */
  readonly passwordAsked: boolean;
}

/** https://www.postgresql.org/docs/current/protocol-message-formats.html , as pg names those messages. */
const PASSWORD_REQUESTS = ['authenticationCleartextPassword', 'authenticationMD5Password', 'authenticationSASL'];

/** To be called before the client connects; what it returns is kept up. */
export function watchLogin(connection: Connection): Login {
  const login = { passwordAsked: false };
  for (const request of PASSWORD_REQUESTS)
    connection.once(request, () => {
      login.passwordAsked = true;
    });
  return login;
}
