// Certificates for tests of TLS: an authority, and what it signs for servers and clients, as PEM texts and as files.
import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

export interface SignedCertificate {
  /** As PEM. */
  readonly certificate: string;
  /** As PEM (PKCS #8), without passphrase. */
  readonly key: string;
  /** The paths of files that hold them, until the authority's `remove`. */
  readonly certificateFile: string;
  readonly keyFile: string;
}

export interface Names {
  readonly dns?: readonly string[];
  readonly ip?: readonly string[];
}

export interface Kind {
  /** Its time was over yesterday. */
  readonly expired?: boolean;
  /** Default: those of an elliptic curve. */
  readonly keys?: webcrypto.RsaHashedKeyGenParams;
}

const DAY_MS = 86_400_000;
const KEYS = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** One's own, that nobody trusts who is not given its certificate. */
export class CertificateAuthority {
  /** As PEM. */
  readonly certificate: string;
  /** The path of a file that holds it, until `remove`. */
  readonly certificateFile: string;
  readonly #own: X509Certificate;
  readonly #keys: webcrypto.CryptoKeyPair;
  readonly #folder: string;
  #signed = 0;

  private constructor(own: X509Certificate, keys: webcrypto.CryptoKeyPair, folder: string, certificateFile: string) {
    this.#own = own;
    this.#keys = keys;
    this.#folder = folder;
    this.certificate = own.toString('pem');
    this.certificateFile = certificateFile;
  }

  static async make(commonName = 'Test authority'): Promise<CertificateAuthority> {
    const keys = await newKeys();
    const own = await X509CertificateGenerator.createSelfSigned({
      serialNumber: serialNumber(),
      name: [{ CN: [commonName] }],
      ...times({}),
      keys,
      extensions: [
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    const folder = await mkdtemp(join(tmpdir(), 'certificates-'));
    const file = join(folder, 'ca.crt');
    await writeFile(file, own.toString('pem'));
    return new CertificateAuthority(own, keys, folder, file);
  }

  /** Of a server that goes by these names; its subject (`server`) is none of them. */
  server({ dns = [], ip = [], ...kind }: Names & Kind): Promise<SignedCertificate> {
    const names = [
      ...dns.map((value) => ({ type: 'dns' as const, value })),
      ...ip.map((value) => ({ type: 'ip' as const, value })),
    ];
    return this.#sign('server', kind, [
      new SubjectAlternativeNameExtension(names),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
    ]);
  }

  client(commonName: string, kind: Kind = {}): Promise<SignedCertificate> {
    return this.#sign(commonName, kind, [new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth])]);
  }

  /** Removes the files of all that it signed, and its own. */
  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true });
  }

  async #sign(commonName: string, kind: Kind, extensions: readonly Extension[]): Promise<SignedCertificate> {
    const keys = await newKeys(kind.keys);
    const signed = await X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject: [{ CN: [commonName] }],
      issuer: this.#own.subjectName,
      ...times(kind),
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: KEYS,
      extensions: [
        new BasicConstraintsExtension(false),
        await AuthorityKeyIdentifierExtension.create(this.#own),
        ...extensions,
      ],
    });
    const certificate = signed.toString('pem');
    const key = PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
    this.#signed += 1;
    const [certificateFile, keyFile] = ['crt', 'key'].map((end) => join(this.#folder, `${this.#signed}.${end}`)) as [
      string,
      string,
    ];
    await writeFile(certificateFile, certificate);
    await writeFile(keyFile, key, { mode: 0o600 });
    return { certificate, key, certificateFile, keyFile };
  }
}

function newKeys(rsa?: webcrypto.RsaHashedKeyGenParams): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(rsa ?? KEYS, true, ['sign', 'verify']);
}

/** Positive, as it must be. */
function serialNumber(): string {
  return `01${randomBytes(8).toString('hex')}`;
}

function times({ expired = false }: Kind): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - 2 * DAY_MS), notAfter: new Date(now + (expired ? -DAY_MS : DAY_MS)) };
}
