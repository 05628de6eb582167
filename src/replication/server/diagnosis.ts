// What an error from PostgreSQL means for the connection: by SQLSTATE and socket code, never by message text.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
import { errorCode } from '../../postgres/errors.ts';
import { NoSuchHost, type Passed } from '../../postgres/hosts.ts';
import { tlsFault } from './tls-faults.ts';

export interface Diagnosis {
  /** `fatal`: waiting cannot mend it. `wait`: try again in a second. */
  readonly kind: 'fatal' | 'wait';
  /** For the operator; names settings, never values. */
  readonly sentence: string;
}

const BY_CODE: Readonly<Record<string, Diagnosis>> = {
  '28P01': {
    kind: 'fatal',
    sentence:
      'PostgreSQL refused the password: check DB_USER and DB_PASSWORD; and DB_SSLCERT, where it also demands a certificate with the name of DB_USER.',
  },
  PASSWORD_MISSING: {
    kind: 'fatal',
    sentence: 'PostgreSQL asks for a password, and DB_PASSWORD is not set: set it, or DB_PASSWORD_FILE.',
  },
  '28000': {
    kind: 'fatal',
    sentence:
      "PostgreSQL does not let this user in: check DB_USER, DB_SSLMODE, DB_SSLCERT (which may have to be there, with the name of DB_USER) and the server's pg_hba.conf (it needs a line for this user and database; that line serves logical replication too).",
  },
  '3D000': { kind: 'fatal', sentence: 'The database does not exist: check DB_NAME.' },
  '42501': {
    kind: 'fatal',
    sentence:
      'The user lacks a right it needs. For the replication slot run, as a superuser: ALTER ROLE <DB_USER> REPLICATION (on Amazon RDS and Aurora: GRANT rds_replication TO <DB_USER>); for the tables: GRANT fhir_connector TO <DB_USER>.',
  },
  '42710': {
    kind: 'fatal',
    sentence:
      'A replication slot of this name already serves another database of this server: set SLOT_NAME to a name of its own.',
  },
  '55006': { kind: 'wait', sentence: 'Another connector holds the replication slot; trying again every second.' },
  '57P03': { kind: 'wait', sentence: 'PostgreSQL is starting up or shutting down; trying again every second.' },
  '57P01': { kind: 'wait', sentence: 'PostgreSQL is shutting down; trying again every second.' },
  '53300': {
    kind: 'wait',
    sentence:
      'PostgreSQL has no free connection: raise max_connections (or max_wal_senders); trying again every second.',
  },
  '53400': {
    kind: 'wait',
    sentence:
      'PostgreSQL has no free replication slot: raise max_replication_slots or drop an unused slot; trying again every second.',
  },
  ECONNREFUSED: {
    kind: 'wait',
    sentence: 'PostgreSQL does not answer at DB_HOST:DB_PORT yet; trying again every second.',
  },
  CLOSED_BEFORE_LOGIN: {
    kind: 'wait',
    sentence:
      'What answers at DB_HOST:DB_PORT is no PostgreSQL, or closes the connection at once: check both; trying again every second.',
  },
  ENOTFOUND: { kind: 'wait', sentence: 'The name in DB_HOST is not known yet; trying again every second.' },
  ANOTHER_SERVER: {
    kind: 'wait',
    sentence:
      'DB_HOST leads to another PostgreSQL server than a moment ago: it is being switched; trying again every second.',
  },
  UNREADABLE_STREAM: {
    kind: 'wait',
    sentence:
      'What came from the replication slot cannot be read: something on the way changes it, or it is no PostgreSQL. Nothing of it was acknowledged; trying again every second.',
  },
  NO_SUCH_HOST: {
    kind: 'wait',
    sentence:
      'None of the hosts in DB_HOST answers and is what DB_TARGET_SESSION_ATTRS asks for; trying again every second.',
  },
  EAI_AGAIN: { kind: 'wait', sentence: 'The name in DB_HOST cannot be looked up yet; trying again every second.' },
};

/** Never throws; what is not in the table is waited for, with PostgreSQL's code in the sentence. */
export function diagnose(error: unknown): Diagnosis {
  if (error instanceof NoSuchHost) return withReasons(error);
  const code = errorCode(error);
  const known = code === null ? undefined : (BY_CODE[code] ?? tlsFault(code));
  if (known) return { kind: known.kind, sentence: known.sentence };
  if (error instanceof Error && offersNoTls(error)) {
    return {
      kind: 'fatal',
      sentence:
        'PostgreSQL offers no TLS there: set DB_SSLMODE=disable only if the network is your own, or switch TLS on in the server.',
    };
  }
  return {
    kind: 'wait',
    sentence: `The connection to PostgreSQL failed (${code ?? 'no code'}); trying again every second.`,
  };
}

function withReasons({ code, passed }: NoSuchHost): Diagnosis {
  const { kind, sentence } = diagnose({ code });
  const reasons = passed.map((one) => `${one.host}:${one.port} ${reasonOf(one)}`);
  return { kind, sentence: sentence.replace('; ', ` (${reasons.join(', ')}); `) };
}

function reasonOf({ met }: Passed): string {
  if (!(met instanceof Error)) return met.inRecovery ? 'is a standby' : 'is read-only';
  return offersNoTls(met) ? 'offers no TLS' : `gives no connection (${errorCode(met) ?? 'no code'})`;
}

/** pg gives this one error no code. */
function offersNoTls({ message }: Error): boolean {
  return /does not support SSL/i.test(message);
}

/** `diagnose` for those who do not try again. */
export function refusal(error: unknown): string {
  return diagnose(error).sentence.replace('; trying again every second.', '.');
}
