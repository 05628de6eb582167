// Which host names never lead off this machine, so that nothing on the way to them has to be encrypted.
import { isIPv4 } from 'node:net';

/** As a configuration or a URL names the host: IPv6 bare or in brackets. A name that only begins as such an address is none: 127.example.com. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || (isIPv4(host) && host.startsWith('127.'));
}
