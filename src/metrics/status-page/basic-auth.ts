// Who may read the status page, by user and password: https://www.rfc-editor.org/rfc/rfc7617
import { hash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';

/** Whoever guesses fills no log. */
const QUIET_MS = 60_000;

export interface Login {
  readonly user: string;
  readonly password: string;
}

/** True where a request comes with this user and password; wrong ones are logged, a line a minute at most. */
export function basicAuth({ user, password }: Login, log: Pick<Logger, 'warn'>, now = () => performance.now()) {
  const wanted = digest(Buffer.from(`${user}:${password}`));
  let tries = 0;
  let toldAt = Number.NEGATIVE_INFINITY;

  return ({ headers, socket }: Pick<IncomingMessage, 'headers' | 'socket'>): boolean => {
    const [, given] = /^basic +([\w+/=-]+) *$/i.exec(headers.authorization ?? '') ?? [];
    // Nobody who only opens the page has tried anything yet.
    if (headers.authorization === undefined) return false;
    // Of two digests neither the length of what was given nor how much of it is right shows in the time.
    if (given !== undefined && timingSafeEqual(digest(Buffer.from(given, 'base64')), wanted)) return true;
    tries += 1;
    if (now() - toldAt >= QUIET_MS) {
      log.warn(
        { remoteAddress: socket.remoteAddress, tries },
        'Somebody asked for the status page with a wrong user or password.',
      );
      toldAt = now();
      tries = 0;
    }
    return false;
  };
}

function digest(bytes: Buffer): Buffer {
  return hash('sha256', bytes, 'buffer');
}
