// The private key that a client signs with: RS384 or ES384, the two that every SMART server knows.
// https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html

import { createPrivateKey, type KeyObject, type webcrypto } from 'node:crypto';

const LEAST_RSA_BITS = 2048;

interface SigningKey {
  readonly key: webcrypto.CryptoKey;
  /** What the server knows the public key by; null where the key itself does not say. */
  readonly id: string | null;
}

/**
 * Reads a key in PEM (PKCS #8, PKCS #1, SEC 1), or as a JSON Web Key.
 *
 * @throws RangeError with what is wrong, in the words behind a variable's name: "holds …"; never with the key.
 */
export function readPrivateKey(text: string): SigningKey {
  const { key, id } = text.trimStart().startsWith('{') ? ofJwk(text) : { key: ofPem(text), id: null };
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'rsa') {
    if ((details?.modulusLength ?? 0) < LEAST_RSA_BITS)
      throw new RangeError(`holds an RSA key of less than ${LEAST_RSA_BITS} bits`);
    return { key: key.toCryptoKey({ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-384' }, false, ['sign']), id };
  }
  if (type === 'ec' && details?.namedCurve === 'secp384r1')
    return { key: key.toCryptoKey({ name: 'ECDSA', namedCurve: 'P-384' }, false, ['sign']), id };
  throw new RangeError('holds a key of another kind than RSA (for RS384) or EC on the curve P-384 (for ES384)');
}

/** Without a passphrase, which nobody gives us, it cannot be read. */
export function isEncrypted(pem: string): boolean {
  return /^-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(pem);
}

function ofPem(text: string): KeyObject {
  if (isEncrypted(text)) throw new RangeError('holds an encrypted key: it must have no passphrase');
  try {
    return createPrivateKey(text);
  } catch {
    throw new RangeError('holds no private key in PEM or as a JSON Web Key');
  }
}

function ofJwk(text: string): { key: KeyObject; id: string | null } {
  try {
    const jwk = JSON.parse(text);
    return {
      key: createPrivateKey({ key: jwk, format: 'jwk' }),
      id: typeof jwk.kid === 'string' && jwk.kid !== '' ? jwk.kid : null,
    };
  } catch {
    throw new RangeError('holds no private key in PEM or as a JSON Web Key');
  }
}
