// The environment variables with their defaults and meanings, one schema; the table of docs/configuration.md is tested against it.
import { hostname } from 'node:os';
import { z } from 'zod';
import { kindsOfTypes } from '../outbox/delivery/kinds.ts';

const text = z.string().min(1, 'must not be empty');
const port = z.coerce
  .number<string>('must be a number')
  .int('must be a whole number')
  .min(0, 'must be a port number')
  .max(65_535, 'must be a port number');
const count = (min: number, max: number) =>
  z.coerce
    .number('must be a number')
    .int('must be a whole number')
    .min(min, `must be at least ${min}`)
    .max(max, `must be at most ${max}`);
/** Names go into replication commands; PostgreSQL allows slots only these characters anyway. */
const slotName = z
  .string()
  .regex(/^[a-z0-9_]{1,63}$/, 'may hold only lower-case letters, digits and underscores, 63 at most');
const address = (example: string) =>
  z
    .url({ protocol: /^https?$/, message: `must be an http or https address, such as ${example}` })
    .regex(
      /^[^@?#]*$/,
      'must have no user, no password, no ? and no #: credentials go into the variables of FHIR_AUTH',
    );
const fhirBase = address('https://fhir.example.com/fhir').transform((url) => url.replace(/(?<!\/)\/+$/, ''));

/** Several, separated by commas: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS */
const several = <T>(one: z.ZodType<T, string>) =>
  z
    .string()
    .transform((list) => list.split(',').map((item) => item.trim()))
    .pipe(z.array(one));

const resourceTypes = z.string().transform((list, context) => {
  const types = list.split(',').map((type) => type.trim());
  try {
    kindsOfTypes(types);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as RangeError).message });
  }
  return types;
});

/** What commands need that speak to the database alone. */
export const databaseSchema = z.object({
  DB_HOST: several(text)
    .default(['localhost'])
    .describe(
      'Host of PostgreSQL, or the folder of its Unix socket. A direct connection, no PgBouncer. Or several, separated by commas: of a primary and its standbys.',
    ),
  DB_PORT: several(z.string().min(1, 'must be a number').pipe(port))
    .default([5432])
    .describe('Port of PostgreSQL; of several hosts, one for all or one each, separated by commas.'),
  DB_TARGET_SESSION_ATTRS: z
    .enum(['any', 'read-write', 'primary'], 'must be any, read-write or primary')
    .optional()
    .describe(
      'Which of several hosts is taken: the first that answers and is so: any, read-write or primary (not in recovery). Default: any with one host, primary with several.',
    ),
  DB_NAME: text.describe('Database with the health tables.'),
  DB_USER: text.describe(
    'User with the REPLICATION attribute (on Amazon RDS: the role rds_replication) and the role fhir_connector.',
  ),
  DB_PASSWORD: z.string().optional().describe('Password of DB_USER; or DB_PASSWORD_FILE, a file that holds it.'),
  DB_SSLMODE: z
    .enum(['disable', 'require', 'verify-full'], 'must be disable, require or verify-full')
    .optional()
    .describe(
      'TLS to PostgreSQL: disable, require (encrypted; verified without the name where DB_SSLROOTCERT is set, otherwise not at all) or verify-full. Default: disable for loopback and Unix sockets where no certificate is set, verify-full otherwise.',
    ),
  DB_SSLROOTCERT: text
    .optional()
    .describe(
      "File with the CA certificates that PostgreSQL's certificate is verified against, as PEM. Default: those that Node trusts.",
    ),
  DB_SSLCERT: text
    .optional()
    .describe(
      "File with the connector's own certificate as PEM, followed by the intermediate CAs; for a PostgreSQL that demands one.",
    ),
  DB_SSLKEY: text.optional().describe('File with the key of DB_SSLCERT as PEM, without passphrase.'),
});

export type DatabaseConfig = Readonly<z.infer<typeof databaseSchema>>;

/** What commands need, beside that, that speak to the FHIR server. What `run` writes `verify` expects: one profile for both. */
export const fhirSchema = z.object({
  FHIR_SERVER: fhirBase.describe('Base URL of the FHIR R4 server, such as https://fhir.example.com/fhir.'),
  FHIR_ALLOW_HTTP: z
    .stringbool({ error: 'must be true or false' })
    .default(false)
    .describe(
      "true: FHIR_SERVER and FHIR_TOKEN_URL may be http addresses of other machines, so that patients' data goes unencrypted. For a network of your own only.",
    ),
  FHIR_CA: text
    .optional()
    .describe(
      "File with the CA certificates that the FHIR server's certificate is verified against, instead of the well-known ones; that of the token endpoint may be of either.",
    ),
  FHIR_CERT: text
    .optional()
    .describe(
      'File with the client certificate as PEM, followed by the intermediate CAs; for a FHIR server that demands one (mTLS).',
    ),
  FHIR_KEY: text.optional().describe('File with the private key of FHIR_CERT, without passphrase.'),
  FHIR_AUTH: z
    .enum(['none', 'bearer', 'client_credentials', 'smart'], 'must be none, bearer, client_credentials or smart')
    .default('none')
    .describe(
      'How the FHIR server lets the connector in: none, bearer (a token that does not change), client_credentials (OAuth 2.0, with a secret) or smart (SMART Backend Services, with a private key).',
    ),
  FHIR_TOKEN: z
    .string()
    // https://www.rfc-editor.org/rfc/rfc6750#section-2.1
    .regex(/^[\w.~+/-]+=*$/, 'must be a bearer token: letters, digits and -._~+/ alone, without the word Bearer')
    .optional()
    .describe('With bearer: the token.'),
  FHIR_TOKEN_URL: address('https://auth.example.com/token')
    .optional()
    .describe(
      "Where access tokens are asked for. Needed with client_credentials; with smart it is found in the FHIR server's .well-known/smart-configuration.",
    ),
  FHIR_CLIENT_ID: text
    .optional()
    .describe('With client_credentials and smart: the client that the authorization server knows.'),
  FHIR_CLIENT_SECRET: z.string().optional().describe('With client_credentials: its secret.'),
  FHIR_PRIVATE_KEY: z
    .string()
    .optional()
    .describe(
      'With smart: the private key that the client signs with, RSA (RS384) or EC P-384 (ES384), as PEM or as a JSON Web Key. Best as FHIR_PRIVATE_KEY_FILE.',
    ),
  FHIR_KEY_ID: text
    .optional()
    .describe("With smart: the kid that the server knows the public key by. Default: the JSON Web Key's own."),
  FHIR_SCOPE: text
    .optional()
    .describe(
      'Scopes to ask for, separated by spaces. Default: with smart what the command needs of each of FHIR_RESOURCES, such as system/Patient.crus; with client_credentials none.',
    ),
  FHIR_RESOURCES: resourceTypes
    .default(['Patient'])
    .describe(
      'Which resources are sent, separated by commas: Patient alone, or Patient,Encounter,Observation. migrate makes the triggers for them, and takes none away: see docs/mapping.md.',
    ),
  FHIR_PROFILE: z
    .enum(['us-core', 'r4'], 'must be us-core or r4')
    .default('us-core')
    .describe(
      'Whose rules the resources keep: us-core (each claims a profile of US Core, and has what that demands) or r4 (plain FHIR R4). The same for run and verify.',
    ),
  FHIR_TIMEOUT_MS: count(100, 600_000).default(30_000).describe('Time-out of one FHIR request, in milliseconds.'),
  FHIR_CONCURRENCY: count(1, 1024)
    .default(32)
    .describe('Requests to the FHIR server at once, each for a different patient.'),
});

export type FhirConfig = Readonly<z.infer<typeof fhirSchema>>;

export const migrateSchema = databaseSchema.extend(fhirSchema.pick({ FHIR_RESOURCES: true }).shape);

/** All of them, for `run`. */
export const environmentSchema = databaseSchema.extend(fhirSchema.shape).extend({
  FHIR_BATCH_SIZE: count(1, 200)
    .default(1)
    .describe(
      'Resources, each of a different patient, that go in one request at most, as a FHIR transaction Bundle; 1 for no Bundles. A good start: 32, with FHIR_CONCURRENCY=8.',
    ),
  FHIR_UPDATE: z
    .enum(['by-id', 'conditional'], 'must be by-id or conditional')
    .default('by-id')
    .describe(
      'How a linked resource is updated: by-id with If-Match, or conditional (by identifier, not fenced; for servers that need it).',
    ),
  FHIR_DELETE: z
    .enum(['deactivate', 'delete'], 'must be deactivate or delete')
    .default('deactivate')
    .describe(
      'What a deleted row becomes: deactivate (a Patient active=false, an Encounter or Observation entered-in-error) or delete (a FHIR DELETE).',
    ),
  SLOT_NAME: slotName.default('fhir_outbox_slot').describe('Logical replication slot; made when missing.'),
  PUBLICATION_NAME: slotName.default('fhir_outbox_pub').describe('Publication of fhir_outbox; made when missing.'),
  SHARD_COUNT: count(1, 64)
    .default(1)
    .describe(
      'How many connectors share the outbox, each with a slot and a publication of its own: see docs/scaling.md.',
    ),
  SHARD_INDEX: count(0, 63)
    .optional()
    .describe(
      "Which of them this one is, from 0. Default: the number at the end of the host's name (a StatefulSet's pod has one), modulo SHARD_COUNT.",
    ),
  WORKER_ID: text.default(hostname()).describe("Name of this process in logs. Default: the host's name."),
  MAX_RETRIES: count(0, 100)
    .default(5)
    .describe(
      'Failed tries of one event, beyond the first, before it is dead-lettered. Outages of the server do not count.',
    ),
  RETENTION_DAYS: count(0, 36_500)
    .default(90)
    .describe(
      'Days that finished outbox rows are kept; processed events and resolved dead letters: three times that. 0 keeps all. What is unprocessed or unresolved stays anyway.',
    ),
  OUTBOX_LAG_ALERT_SECONDS: count(1, 86_400)
    .default(30)
    .describe('Age of the oldest unprocessed outbox row, in seconds, beyond which the alert OutboxAge fires.'),
  SHUTDOWN_TIMEOUT_MS: count(0, 600_000)
    .default(10_000)
    .describe('Time for requests in flight to end after SIGTERM, in milliseconds.'),
  METRICS_HOST: text
    .default('0.0.0.0')
    .describe('Address on which /metrics, /healthz, /readyz and the status page listen.'),
  METRICS_PORT: port.default(9464).describe('Port of /metrics, /healthz, /readyz and the status page.'),
  STATUS_USER: z
    .string()
    .regex(/^[^:\p{Cc}]+$/u, 'may hold no colon and no control character')
    .optional()
    .describe(
      'User that the status page and /status.json are for, by HTTP Basic; with STATUS_PASSWORD. /metrics, /healthz and /readyz stay open. Default: everybody.',
    ),
  STATUS_PASSWORD: z
    .string()
    .regex(/^\P{Cc}+$/u, 'may hold no control character')
    .optional()
    .describe('Password of STATUS_USER; or STATUS_PASSWORD_FILE, a file that holds it.'),
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace'], 'must be fatal, error, warn, info, debug or trace')
    .default('info')
    .describe('Least level of the log lines.'),
});

export type Config = Readonly<z.infer<typeof environmentSchema>>;
