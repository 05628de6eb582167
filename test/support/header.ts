// A header of a request that came; null where it has none.
import type { IncomingMessage } from 'node:http';

export function header(incoming: IncomingMessage, name: string): string | null {
  const value = incoming.headers[name];
  return typeof value === 'string' ? value : null;
}
