// Whether an address may be asked: patients' data and credentials go over TLS, or do not leave the machine.

/** `allowHttp`: what FHIR_ALLOW_HTTP says of other machines. */
export function mayBeAsked(address: string, allowHttp: boolean): boolean {
  const { protocol, hostname } = new URL(address);
  if (protocol === 'https:') return true;
  return protocol === 'http:' && (allowHttp || isLoopback(hostname));
}

/** As URL writes host names: in small letters, IPv6 in brackets. */
function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
