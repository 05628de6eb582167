// What a failed TLS handshake with PostgreSQL means, by the codes of Node and OpenSSL: which certificate is wrong, and whose turn it is.
// https://nodejs.org/docs/latest-v24.x/api/tls.html#x509-certificate-error-codes

interface TlsFault {
  /** How its codes end: OpenSSL puts the TLS version before the name of an alert, and changed it once. */
  readonly codes: readonly string[];
  readonly kind: 'fatal' | 'wait';
  readonly sentence: string;
}

export const TLS_FAULTS: readonly TlsFault[] = [
  {
    codes: [
      'SELF_SIGNED_CERT_IN_CHAIN',
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'UNABLE_TO_GET_ISSUER_CERT',
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      'CERT_SIGNATURE_FAILURE',
      'CERT_UNTRUSTED',
      'INVALID_CA',
    ],
    kind: 'fatal',
    sentence:
      "No trusted CA signed PostgreSQL's certificate: name the file with its CA's certificate in DB_SSLROOTCERT. If it is there, something else than your server may have answered.",
  },
  {
    codes: ['ERR_TLS_CERT_ALTNAME_INVALID'],
    kind: 'fatal',
    sentence:
      "PostgreSQL's certificate is not for the name or address in DB_HOST: set DB_HOST to one that is in the certificate, or have it put there.",
  },
  {
    codes: ['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID'],
    kind: 'fatal',
    sentence:
      "PostgreSQL's certificate or its CA's has expired, or is not valid yet: renew it and reload the server, or set this machine's clock right.",
  },
  {
    codes: ['ALERT_UNKNOWN_CA'],
    kind: 'fatal',
    sentence:
      "PostgreSQL does not know the CA of the certificate in DB_SSLCERT: name one there that a CA in the server's ssl_ca_file signed, or add that CA to the file.",
  },
  {
    codes: ['ALERT_CERTIFICATE_EXPIRED'],
    kind: 'fatal',
    sentence: 'The certificate in DB_SSLCERT has expired: renew it; its file is read anew for each connection.',
  },
  {
    codes: [
      'ALERT_BAD_CERTIFICATE',
      'ALERT_UNSUPPORTED_CERTIFICATE',
      'ALERT_CERTIFICATE_REVOKED',
      'ALERT_CERTIFICATE_UNKNOWN',
    ],
    kind: 'fatal',
    sentence: 'PostgreSQL refused the certificate in DB_SSLCERT: its log says why.',
  },
  {
    codes: ['EPROTO', 'ALERT_PROTOCOL_VERSION', 'ALERT_HANDSHAKE_FAILURE'],
    kind: 'wait',
    sentence:
      'The TLS handshake with PostgreSQL failed: its log says why. Both sides need TLS 1.2 or newer, and PostgreSQL must accept the certificate in DB_SSLCERT; trying again every second.',
  },
];

export function tlsFault(code: string): TlsFault | undefined {
  return TLS_FAULTS.find(({ codes }) => codes.some((end) => code.endsWith(end)));
}
