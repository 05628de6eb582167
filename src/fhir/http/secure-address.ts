// Whether an address may be asked: patients' data and credentials go over TLS, or do not leave the machine.
import { isLoopback } from '../../loopback.ts';

/** `allowHttp`: what FHIR_ALLOW_HTTP says of other machines. */
export function mayBeAsked(address: string, allowHttp: boolean): boolean {
  const { protocol, hostname } = new URL(address);
  if (protocol === 'https:') return true;
  return protocol === 'http:' && (allowHttp || isLoopback(hostname));
}
