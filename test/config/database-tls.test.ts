// TLS to PostgreSQL by the variables: whether there is any, what is verified, and each fault of the files told by the variable.
import { generateKeyPairSync } from 'node:crypto';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { databaseClient } from '../../src/config/database.ts';
import { FatalError } from '../../src/fatal.ts';
import { CertificateAuthority, type SignedCertificate } from '../support/certificates.ts';
import { folderOfFiles, read } from './configuration.ts';

const { path: folder, file } = folderOfFiles();
const VERIFIED = { rejectUnauthorized: true, minVersion: 'TLSv1.2' };

let authority: CertificateAuthority;
let own: SignedCertificate;
let another: SignedCertificate;

beforeAll(async () => {
  authority = await CertificateAuthority.make();
  [own, another] = await Promise.all([authority.client('connector'), authority.client('another')]);
});

afterAll(() => authority.remove());

const client = (environment: Record<string, string>) => databaseClient(read(environment));

/** The sentences of the fault; each names a variable and none a path. */
function told(environment: Record<string, string>): string[] {
  try {
    client(environment);
  } catch (error) {
    expect(error).toBeInstanceOf(FatalError);
    const [title, ...lines] = (error as FatalError).message.split('\n');
    expect(title).toBe('The configuration is wrong:');
    for (const line of lines) expect(line).toMatch(/DB_SSL(MODE|ROOTCERT|CERT|KEY)/);
    for (const path of Object.values(environment).filter((value) => value.startsWith('/')))
      expect(lines.join()).not.toContain(path);
    return lines.map((line) => line.replace(/^ {2}- /, ''));
  }
  throw new Error('The configuration was accepted.');
}

const keyed = ({ certificateFile, keyFile }: SignedCertificate) => ({
  DB_SSLCERT: certificateFile,
  DB_SSLKEY: keyFile,
});

describe('TLS to PostgreSQL', () => {
  it.each(['localhost', '127.0.0.1', '127.8.9.1', '::1', '/var/run/postgresql'])('there is none to %s', (host) => {
    expect(client({ DB_HOST: host }).ssl).toBe(false);
    expect(client({ DB_HOST: host })).not.toHaveProperty('tls');
  });

  it.each([
    'postgres',
    'db.example.com',
    '10.0.0.1',
    'localhost.example.com',
    '1270.0.0.1',
    '127.db.example.com',
    '127.0.0.1.example.com',
    'localhost,db',
  ])('is verified to %s', (host) => {
    expect(client({ DB_HOST: host }).ssl).toEqual(VERIFIED);
  });

  it('is what DB_SSLMODE says, whatever the host', () => {
    expect(client({ DB_HOST: 'db.example.com', DB_SSLMODE: 'disable' }).ssl).toBe(false);
    expect(client({ DB_SSLMODE: 'require' }).ssl).toEqual({ ...VERIFIED, rejectUnauthorized: false });
    expect(client({ DB_SSLMODE: 'verify-full' }).ssl).toEqual(VERIFIED);
  });

  it('is verified on this machine too where a file for it is set', () => {
    const { certificate: ca, certificateFile } = authority;
    expect(client({ DB_SSLROOTCERT: certificateFile }).ssl).toEqual({ ...VERIFIED, ca });
    const { certificate: cert, key } = own;
    const { ssl } = client(keyed(own));
    expect(ssl).toMatchObject({ ...VERIFIED, cert });
    expect((ssl as { key: string }).key).toBe(key);
  });

  it('verifies the CA and not the name with `require` and a CA, as libpq does', () => {
    const { ssl } = client({ DB_SSLMODE: 'require', DB_SSLROOTCERT: authority.certificateFile });
    expect(ssl).toMatchObject({ ...VERIFIED, ca: authority.certificate });
    expect((ssl as { checkServerIdentity(): unknown }).checkServerIdentity()).toBe(undefined);
  });

  it('ties the password to the certificate where the name is not verified', () => {
    expect(client({ DB_SSLMODE: 'require' }).enableChannelBinding).toBe(true);
    expect(client({ DB_SSLMODE: 'verify-full' }).enableChannelBinding).toBe(false);
    expect(client({})).not.toHaveProperty('enableChannelBinding');
  });

  it('takes many CAs with words between them, and a certificate with the CAs in between behind it', () => {
    const bundle = rootCertificates.map((one, index) => `# Number ${index}\n${one}\n`).join('');
    expect(client({ DB_SSLROOTCERT: file('bundle.pem', bundle) }).ssl).toEqual({ ...VERIFIED, ca: bundle });
    const chain = `${own.certificate}\n${authority.certificate}\n`;
    expect(client({ ...keyed(own), DB_SSLCERT: file('chain.pem', chain) }).ssl).toMatchObject({ cert: chain });
  });
});

describe('a fault of the files', () => {
  it('without TLS is that they are there: they are not left aside in silence', () => {
    expect(told({ DB_SSLMODE: 'disable', DB_SSLROOTCERT: authority.certificateFile, ...keyed(own) })).toEqual([
      'DB_SSLROOTCERT is for TLS, and DB_SSLMODE=disable goes without: take one of them away.',
      'DB_SSLCERT is for TLS, and DB_SSLMODE=disable goes without: take one of them away.',
      'DB_SSLKEY is for TLS, and DB_SSLMODE=disable goes without: take one of them away.',
    ]);
  });

  it('that cannot be read is told by their variables, not by their paths', () => {
    expect(told({ DB_SSLROOTCERT: join(folder, 'no1'), DB_SSLCERT: join(folder, 'no2'), DB_SSLKEY: folder })).toEqual([
      'The file that DB_SSLROOTCERT names cannot be read (ENOENT).',
      'The file that DB_SSLCERT names cannot be read (ENOENT).',
      'The file that DB_SSLKEY names cannot be read (no file of a megabyte at most).',
    ]);
  });

  it('is a certificate without a key, and a key without a certificate', () => {
    expect(told({ DB_SSLCERT: own.certificateFile })).toEqual([
      'DB_SSLCERT is set and DB_SSLKEY is not: set both, a certificate is worth nothing without its key.',
    ]);
    expect(told({ DB_SSLKEY: own.keyFile })).toEqual([
      'DB_SSLKEY is set and DB_SSLCERT is not: set both, a key is worth nothing without its certificate.',
    ]);
  });

  it.each([
    ['nothing', () => ''],
    ['a key', () => own.key],
    ['half a certificate', () => own.certificate.slice(0, 200)],
    ['one certificate and a damaged one', () => `${own.certificate}\n${own.certificate.replace(/M/, 'N')}`],
  ])('is %s where a CA should be, or a certificate', (_, content) => {
    const wrong = file('wrong.pem', content());
    expect(told({ DB_SSLROOTCERT: wrong })).toEqual([
      'The file that DB_SSLROOTCERT names holds no CA certificate as PEM, or one that is damaged.',
    ]);
    expect(told({ DB_SSLCERT: wrong, DB_SSLKEY: own.keyFile })).toEqual([
      'The file that DB_SSLCERT names holds no certificate as PEM, or one that is damaged.',
    ]);
  });

  it('is what is no key, and the key of another certificate', () => {
    expect(told({ DB_SSLCERT: own.certificateFile, DB_SSLKEY: own.certificateFile })).toEqual([
      'The file that DB_SSLKEY names holds no private key as PEM.',
    ]);
    const fault =
      'The key in DB_SSLKEY does not belong to the certificate in DB_SSLCERT: the first one there must be that of the key.';
    expect(told({ DB_SSLCERT: own.certificateFile, DB_SSLKEY: another.keyFile })).toEqual([fault]);
    const wrongOrder = file('order.pem', `${authority.certificate}\n${own.certificate}`);
    expect(told({ DB_SSLCERT: wrongOrder, DB_SSLKEY: own.keyFile })).toEqual([fault]);
  });

  it.each(['pkcs8', 'sec1'] as const)('is an encrypted key (%s)', (type) => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const secret = { format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' } as const;
    const encrypted = file(`${type}.key`, privateKey.export({ type, ...secret }) as string);
    expect(told({ DB_SSLCERT: own.certificateFile, DB_SSLKEY: encrypted })).toEqual([
      'The key in DB_SSLKEY is encrypted: it must be without passphrase, in a file that only the connector can read.',
    ]);
  });

  it('is what OpenSSL does not take, such as a key that is too short', async () => {
    const keys = {
      name: 'RSASSA-PKCS1-v1_5',
      hash: 'SHA-256',
      publicExponent: Buffer.of(1, 0, 1),
      modulusLength: 1024,
    };
    const short = await authority.client('connector', { keys });
    expect(told(keyed(short))).toEqual([
      'OpenSSL does not take the certificates and the key of DB_SSLROOTCERT, DB_SSLCERT and DB_SSLKEY (ERR_SSL_EE_KEY_TOO_SMALL).',
    ]);
  });
});

describe('the files of a connection', () => {
  it('are those that are there when it is made; while they do not fit together, those of before', () => {
    const [certificate, key] = [join(folder, 'own.crt'), join(folder, 'own.key')];
    const put = (one: SignedCertificate) => copyFileSync(one.certificateFile, certificate);
    put(own);
    copyFileSync(own.keyFile, key);
    const { tls } = client({ DB_SSLCERT: certificate, DB_SSLKEY: key });
    expect(tls?.()).toMatchObject({ cert: own.certificate, key: own.key });
    put(another);
    expect(tls?.()).toMatchObject({ cert: own.certificate, key: own.key });
    writeFileSync(key, '');
    expect(tls?.()).toMatchObject({ cert: own.certificate, key: own.key });
    copyFileSync(another.keyFile, key);
    expect(tls?.()).toMatchObject({ cert: another.certificate, key: another.key });
  });
});
