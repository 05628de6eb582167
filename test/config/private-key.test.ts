// The key that a client signs with: every form that it may have, and a sentence for what is none.
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readPrivateKey } from '../../src/config/private-key.ts';
import { KEYS, pemOf } from '../support/authorization-server.ts';

const { RS384, ES384 } = KEYS;

function encrypted(type: 'pkcs8' | 'pkcs1'): string {
  return String(RS384.privateKey.export({ type, format: 'pem', cipher: 'aes-256-cbc', passphrase: 'hush' }));
}

describe('a private key', () => {
  it.each([
    ['PKCS #8', pemOf(RS384.privateKey)],
    ['PKCS #1', pemOf(RS384.privateKey, 'pkcs1')],
    ['SEC 1', pemOf(ES384.privateKey, 'sec1')],
  ])('may be %s', (_, pem) => {
    expect(readPrivateKey(pem)).toMatchObject({ key: { type: 'private', extractable: false }, id: null });
  });

  it('may be a JSON Web Key, with its id', () => {
    const jwk = createPrivateKey(pemOf(ES384.privateKey)).export({ format: 'jwk' });
    expect(readPrivateKey(JSON.stringify({ ...jwk, kid: 'mine' }))).toMatchObject({ id: 'mine' });
    expect(readPrivateKey(JSON.stringify(jwk))).toMatchObject({ id: null });
  });

  it.each([
    ['nothing', 'hush', 'holds no private key in PEM or as a JSON Web Key'],
    ['no JSON Web Key', '{"hush":1}', 'holds no private key in PEM or as a JSON Web Key'],
    [
      'a public key',
      String(RS384.publicKey.export({ type: 'spki', format: 'pem' })),
      'holds no private key in PEM or as a JSON Web Key',
    ],
    [
      'one that is too short',
      pemOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey),
      'holds an RSA key of less than 2048 bits',
    ],
    [
      'one of another curve',
      pemOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey),
      'holds a key of another kind than RSA (for RS384) or EC on the curve P-384 (for ES384)',
    ],
    [
      'one of another kind',
      pemOf(generateKeyPairSync('ed25519').privateKey),
      'holds a key of another kind than RSA (for RS384) or EC on the curve P-384 (for ES384)',
    ],
    ['an encrypted one', encrypted('pkcs8'), 'holds an encrypted key: it must have no passphrase'],
    ['an encrypted one of old', encrypted('pkcs1'), 'holds an encrypted key: it must have no passphrase'],
  ])('that is %s is told in words without it', (_, text, sentence) => {
    expect(() => readPrivateKey(text)).toThrow(new RangeError(sentence));
  });
});
