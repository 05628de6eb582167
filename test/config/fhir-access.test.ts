// How the FHIR server is asked: what fits together, and what is refused in words.
import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fhirAccess } from '../../src/config/fhir-access.ts';
import { FatalError } from '../../src/fatal.ts';
import { CertificateAuthority, type SignedCertificate } from '../support/certificates.ts';
import { faults, folderOfFiles, NEEDED, read } from './configuration.ts';

const { path: folder, file } = folderOfFiles();
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const PEM = String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
const JWK = JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid: 'its-own' });

const authorization = (environment: Record<string, string>) => fhirAccess(read(environment)).authorization;
const wrong = (...sentences: string[]) =>
  new FatalError(`The configuration is wrong:\n${sentences.map((sentence) => `  - ${sentence}`).join('\n')}`);

describe('FHIR_AUTH', () => {
  const SECRET = {
    FHIR_AUTH: 'client_credentials',
    FHIR_TOKEN_URL: 'https://auth.example.com/token',
    FHIR_CLIENT_ID: 'connector',
    FHIR_CLIENT_SECRET: 'hush',
  };
  const SMART = { FHIR_AUTH: 'smart', FHIR_CLIENT_ID: 'connector', FHIR_PRIVATE_KEY: PEM, FHIR_KEY_ID: 'one' };

  it('is none, or what it says', () => {
    expect(authorization({})).toEqual({ by: 'none' });
    expect(authorization({ FHIR_AUTH: 'bearer', FHIR_TOKEN: 'hush' })).toEqual({ by: 'bearer', token: 'hush' });
    expect(authorization(SECRET)).toEqual({
      by: 'access-tokens',
      clientId: 'connector',
      authentication: { secret: 'hush' },
    });
    expect(authorization(SMART)).toMatchObject({ clientId: 'connector', authentication: { keyId: 'one' } });
  });

  it('takes the id of a JSON Web Key where no other is given', () => {
    const { FHIR_KEY_ID: _, ...rest } = SMART;
    expect(authorization({ ...rest, FHIR_PRIVATE_KEY: JWK })).toMatchObject({ authentication: { keyId: 'its-own' } });
    expect(authorization({ ...SMART, FHIR_PRIVATE_KEY: JWK })).toMatchObject({ authentication: { keyId: 'one' } });
    expect(() => authorization(rest)).toThrow(
      wrong('FHIR_KEY_ID is not set, and the key in FHIR_PRIVATE_KEY has no kid of its own.'),
    );
  });

  it.each([
    ['bearer', ['FHIR_TOKEN']],
    ['client_credentials', ['FHIR_TOKEN_URL', 'FHIR_CLIENT_ID', 'FHIR_CLIENT_SECRET']],
    ['smart', ['FHIR_CLIENT_ID', 'FHIR_PRIVATE_KEY']],
  ])('says what is missing for %s', (by, missing) => {
    expect(() => authorization({ FHIR_AUTH: by })).toThrow(
      wrong(...missing.map((name) => `${name} is not set: FHIR_AUTH=${by} needs it.`)),
    );
  });

  it.each([
    { name: 'FHIR_TOKEN', by: 'none', environment: { FHIR_TOKEN: 'hush' } },
    { name: 'FHIR_TOKEN', by: 'client_credentials', environment: { ...SECRET, FHIR_TOKEN: 'hush' } },
    { name: 'FHIR_PRIVATE_KEY', by: 'client_credentials', environment: { ...SECRET, FHIR_PRIVATE_KEY: 'hush' } },
    { name: 'FHIR_CLIENT_SECRET', by: 'smart', environment: { ...SMART, FHIR_CLIENT_SECRET: 'hush' } },
    { name: 'FHIR_SCOPE', by: 'none', environment: { FHIR_SCOPE: 'system/*.rs' } },
  ])('does not let $name be of no use with FHIR_AUTH=$by', ({ environment, name, by }) => {
    expect(() => authorization(environment as Record<string, string>)).toThrow(
      wrong(`${name} is of no use with FHIR_AUTH=${by}: set FHIR_AUTH to what it is for, or leave it out.`),
    );
  });

  it('says what is wrong with a key, without it', () => {
    expect(() => authorization({ ...SMART, FHIR_PRIVATE_KEY: 'hush' })).toThrow(
      wrong('FHIR_PRIVATE_KEY holds no private key in PEM or as a JSON Web Key.'),
    );
  });

  it.each(['FHIR_TOKEN', 'FHIR_CLIENT_SECRET', 'FHIR_PRIVATE_KEY'])('reads %s from a file', (name) => {
    expect(read({ [`${name}_FILE`]: file(name, 'held\n') })).toHaveProperty(name, 'held');
  });

  it.each(['Bearer hush', 'hush\r\nx: y', 'ümlaut', 'hush hush'])(
    'takes no token that a header cannot hold: %j',
    (token) => {
      expect(faults({ ...NEEDED, FHIR_TOKEN: token })).toEqual([
        'FHIR_TOKEN must be a bearer token: letters, digits and -._~+/ alone, without the word Bearer.',
      ]);
    },
  );
});

describe('an http address', () => {
  const refused = (name: string) =>
    `${name} is an http address of another machine: patients' data would go there unencrypted. Use https, or set FHIR_ALLOW_HTTP=true for a network of your own.`;

  it('of another machine is refused, unless FHIR_ALLOW_HTTP says so', () => {
    const FHIR_SERVER = 'http://fhir.example.com/fhir';
    expect(() => authorization({ FHIR_SERVER })).toThrow(wrong(refused('FHIR_SERVER')));
    expect(() => authorization({ FHIR_SERVER, FHIR_ALLOW_HTTP: 'false' })).toThrow(FatalError);
    expect(authorization({ FHIR_SERVER, FHIR_ALLOW_HTTP: 'true' })).toEqual({ by: 'none' });
    expect(authorization({ FHIR_SERVER: 'http://localhost:8080/fhir' })).toEqual({ by: 'none' });
  });

  it('of a token endpoint as well', () => {
    const environment = {
      FHIR_AUTH: 'client_credentials',
      FHIR_TOKEN_URL: 'http://auth.example.com/token',
      FHIR_CLIENT_ID: 'connector',
      FHIR_CLIENT_SECRET: 'hush',
    };
    expect(() => authorization(environment)).toThrow(wrong(refused('FHIR_TOKEN_URL')));
    expect(authorization({ ...environment, FHIR_ALLOW_HTTP: 'true' })).toMatchObject({ by: 'access-tokens' });
  });

  it.each([
    { what: 'user and password', FHIR_SERVER: 'https://user:hush@fhir.example.com/fhir' },
    { what: 'query', FHIR_SERVER: 'https://fhir.example.com/fhir?key=hush' },
    { what: 'fragment', FHIR_SERVER: 'https://fhir.example.com/#hush' },
  ])('has no $what in it', ({ FHIR_SERVER }) => {
    expect(faults({ ...NEEDED, FHIR_SERVER })).toEqual([
      'FHIR_SERVER must have no user, no password, no ? and no #: credentials go into the variables of FHIR_AUTH.',
    ]);
  });
});

describe('TLS to the FHIR server', () => {
  let authority: CertificateAuthority;
  let own: SignedCertificate;
  let other: SignedCertificate;
  const tls = (environment: Record<string, string>) => fhirAccess(read(environment)).tls();

  beforeAll(async () => {
    authority = await CertificateAuthority.make();
    own = await authority.client('connector');
    other = await authority.client('other');
  });

  afterAll(() => authority.remove());

  it('is as Node has it, or by the files', () => {
    expect(tls({})).toEqual({});
    expect(tls({ FHIR_CA: authority.certificateFile, FHIR_CERT: own.certificateFile, FHIR_KEY: own.keyFile })).toEqual({
      ca: authority.certificate,
      cert: own.certificate,
      key: own.key,
    });
  });

  it('is as the files are at each call; while they do not fit together, as they were', () => {
    const [cert, key] = [file('renewed.crt', own.certificate), file('renewed.key', own.key)];
    const { tls: now } = fhirAccess(read({ FHIR_CERT: cert, FHIR_KEY: key }));
    const before = { ca: undefined, cert: own.certificate, key: own.key };
    expect(now()).toEqual(before);
    file('renewed.crt', other.certificate);
    expect(now()).toEqual(before);
    file('renewed.key', other.key);
    expect(now()).toEqual({ ca: undefined, cert: other.certificate, key: other.key });
  });

  it('has its faults told with all others, by the variables', () => {
    const hush = file('hush', 'hush');
    const environment = { FHIR_CA: hush, FHIR_CERT: own.certificateFile, FHIR_KEY: other.keyFile, FHIR_AUTH: 'bearer' };
    expect(() => tls(environment)).toThrow(
      wrong(
        'FHIR_TOKEN is not set: FHIR_AUTH=bearer needs it.',
        'The file that FHIR_CA names holds no CA certificate as PEM, or one that is damaged.',
        'The key in FHIR_KEY does not belong to the certificate in FHIR_CERT: the first one there must be that of the key.',
      ),
    );
    expect(() => tls({ FHIR_CERT: own.certificateFile, FHIR_CA: `${folder}/missing` })).toThrow(
      wrong(
        'The file that FHIR_CA names cannot be read (ENOENT).',
        'FHIR_CERT is set and FHIR_KEY is not: set both, a certificate is worth nothing without its key.',
      ),
    );
  });
});
