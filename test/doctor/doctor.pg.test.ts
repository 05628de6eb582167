// `doctor` on a server of its own: each planted fault is found, and what it says mends it does mend it.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { examine } from '../../src/doctor/examine.ts';
import type { Finding } from '../../src/doctor/finding.ts';
import { TABLE_RIGHTS } from '../../src/doctor/rights.ts';
import { createFhirClient } from '../../src/fhir/client/create-client.ts';
import { nameOf, type Shard, WHOLE } from '../../src/shard.ts';
import { capabilityStatement } from '../support/capability-statement.ts';
import { runCommand } from '../support/command.ts';
import { connectorEnvironment, type DatabaseTarget, slotOf, startConnector } from '../support/connector.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { PATIENCE } from '../support/patience.ts';
import { migrated, startServer } from '../support/servers.ts';
import { ask, run } from '../support/with-client.ts';

const LOGIN = { user: 'health_connector', password: 'not-a-secret' };
const SLOT = 'doctors_slot';
const PUBLICATION = 'fhir_outbox_pub';

let server: EmbeddedPostgres;
let database: DatabaseTarget;
let sink: FhirSink;

beforeAll(async () => {
  server = await startServer({ max_replication_slots: '1', max_slot_wal_keep_size: '1GB' });
  database = await migrated(server, 'health');
  await run(
    database,
    `CREATE ROLE ${LOGIN.user} LOGIN REPLICATION PASSWORD '${LOGIN.password}' IN ROLE fhir_connector`,
  );
  await run(
    database,
    "INSERT INTO patient (name_family, identifier_value) VALUES ('Curie', 'one'), ('Meitner', 'two')",
  );
  sink = await FhirSink.start();
});

afterAll(async () => {
  await sink.stop();
  await server.stop('immediate');
});

interface As {
  readonly login?: { readonly user: string; readonly password: string; readonly database?: string };
  readonly fhirUrl?: string;
  readonly slot?: string;
  readonly shard?: Shard;
}

async function findings({
  login = LOGIN,
  fhirUrl = sink.url,
  slot = SLOT,
  shard = WHOLE,
}: As = {}): Promise<Finding[]> {
  const fhir = createFhirClient(
    { baseUrl: fhirUrl, concurrency: 1, timeoutMs: 5000, userAgent: 'test' },
    () => undefined,
  );
  try {
    return await examine({
      slot: { config: { ...database.config, ...login }, shard, slotBase: slot, publicationBase: PUBLICATION },
      fhir,
      needs: { update: 'by-id', deletes: 'deactivate', batchSize: 1, resources: ['Patient'] },
    });
  } finally {
    await fhir.close();
  }
}

const wrong = (all: readonly Finding[]) => all.filter(({ verdict }) => verdict !== 'ok');

async function restart(): Promise<void> {
  await server.pause('fast');
  await server.start();
}

interface Planted {
  readonly fault: string;
  /** Statements, each on its own: ALTER SYSTEM allows no company. */
  readonly plant: readonly string[];
  readonly restart?: true;
  readonly check: string;
  readonly verdict?: 'warning';
  readonly says: RegExp;
}

const PLANTED: readonly Planted[] = [
  {
    fault: 'wal_level is replica',
    plant: ["ALTER SYSTEM SET wal_level = 'replica'"],
    restart: true,
    check: 'wal_level',
    says: /wal_level is replica/,
  },
  {
    fault: 'all replication slots are in use',
    plant: ["SELECT pg_create_physical_replication_slot('of_somebody_else')"],
    check: 'Replication slots',
    says: /All 1 are in use/,
  },
  {
    fault: 'a slot may keep any amount of WAL',
    plant: ['ALTER SYSTEM SET max_slot_wal_keep_size = -1', 'SELECT pg_reload_conf()'],
    check: 'max_slot_wal_keep_size',
    verdict: 'warning',
    says: /fills the disk/,
  },
  {
    fault: 'the user has no REPLICATION',
    plant: [`ALTER ROLE ${LOGIN.user} NOREPLICATION`],
    check: 'REPLICATION',
    says: /may not read a replication slot/,
  },
  {
    fault: 'the user is not in the role fhir_connector',
    plant: [`REVOKE fhir_connector FROM ${LOGIN.user}`],
    check: 'Rights',
    says: /lacks SELECT on fhir_outbox/,
  },
  {
    fault: 'the role has lost a right',
    plant: ['REVOKE UPDATE ON fhir_outbox FROM fhir_connector'],
    check: 'Rights',
    says: /lacks UPDATE on fhir_outbox\.$/,
  },
  {
    fault: 'the role may not call a function, nor use a sequence',
    plant: [
      'REVOKE EXECUTE ON FUNCTION fhir_align_sequences() FROM fhir_connector',
      'REVOKE USAGE ON SEQUENCE fhir_processed_event_id_seq FROM fhir_connector',
    ],
    check: 'Rights',
    says: /lacks USAGE on fhir_processed_event_id_seq; EXECUTE on fhir_align_sequences\(\)\.$/,
  },
  {
    fault: 'the role has lost a right on a column',
    plant: ['REVOKE UPDATE (last_error) ON fhir_outbox FROM fhir_connector'],
    check: 'Rights',
    says: /lacks UPDATE on fhir_outbox\.$/,
  },
  {
    fault: 'the role may read a patients table',
    plant: ['GRANT SELECT ON patient TO fhir_connector'],
    check: "Patients' tables",
    verdict: 'warning',
    says: /may read or change patient: the connector needs no right there/,
  },
  {
    fault: 'the login and everybody may read columns of patients tables',
    plant: [
      `GRANT SELECT (name_family) ON patient TO ${LOGIN.user}`,
      'GRANT UPDATE (identifier_value) ON patient_other_identifiers TO PUBLIC',
    ],
    check: "Patients' tables",
    verdict: 'warning',
    says: /may read or change patient, patient_other_identifiers:/,
  },
  {
    fault: 'the login is in the role of the application, and may read all data',
    plant: [`GRANT fhir_app, pg_read_all_data TO ${LOGIN.user}`],
    check: "Patients' tables",
    verdict: 'warning',
    says: /may read or change blood_pressure, form, patient, patient_other_identifiers, pulse:/,
  },
  {
    fault: 'everybody may read the outbox, and the application more',
    plant: [
      'GRANT SELECT ON fhir_outbox TO PUBLIC',
      'GRANT UPDATE (resolved_at) ON fhir_dlq TO fhir_app',
      'GRANT USAGE ON SEQUENCE fhir_outbox_id_seq TO fhir_app',
      'GRANT EXECUTE ON FUNCTION fhir_emit(text, integer[]), fhir_cleanup_old(integer) TO fhir_app',
    ],
    check: 'Rights of others',
    verdict: 'warning',
    says: /^PUBLIC has rights on fhir_outbox; fhir_app has rights on fhir_cleanup_old, fhir_dlq, fhir_emit, fhir_outbox_id_seq: /,
  },
  {
    fault: 'a trigger is disabled',
    plant: ['ALTER TABLE patient DISABLE TRIGGER fhir_patient_update'],
    check: 'Triggers',
    says: /fhir_patient_update on patient is disabled/,
  },
  {
    fault: 'triggers are missing',
    plant: [
      'DROP TRIGGER fhir_patient_truncate ON patient',
      'DROP TRIGGER fhir_other_identifier_update ON patient_other_identifiers',
    ],
    check: 'Triggers',
    says: /fhir_patient_truncate on patient is missing, fhir_other_identifier_update .* is missing/,
  },
  {
    fault: 'an application works as a replica does',
    plant: ['ALTER ROLE fhir_app SET session_replication_role = replica'],
    check: 'session_replication_role',
    says: /replica for fhir_app/,
  },
  {
    fault: 'everybody works as a replica does',
    plant: ["ALTER ROLE ALL SET session_replication_role = 'REPLICA'"],
    check: 'session_replication_role',
    says: /replica for all roles/,
  },
  {
    fault: 'a whole database works as a replica does',
    plant: ['ALTER DATABASE health SET session_replication_role = replica'],
    check: 'session_replication_role',
    says: /replica for all roles in health/,
  },
  {
    fault: 'the sequence of the outbox was left behind by a copy',
    plant: ["SELECT setval('fhir_outbox_id_seq', 1)"],
    check: 'Sequences',
    says: /behind its rows/,
  },
  {
    fault: 'a copy came without its sequence',
    plant: ["SELECT setval('fhir_outbox_id_seq', 1, false)"],
    check: 'Sequences',
    says: /behind its rows/,
  },
  {
    fault: 'revisions were left behind by a copy',
    plant: [
      "INSERT INTO fhir_link (resource_type, source_table, source_id, fhir_id, last_revision) VALUES ('Patient', 'patient', 1, 'r1', 7) ON CONFLICT DO NOTHING",
      'DELETE FROM fhir_patient_revision WHERE patient_id = 1',
    ],
    check: 'Revisions',
    says: /behind what was delivered: 1\./,
  },
  {
    fault: 'the publication has no table',
    plant: ['ALTER PUBLICATION fhir_outbox_pub DROP TABLE fhir_outbox'],
    check: 'Publication',
    says: /does not have fhir_outbox/,
  },
  {
    fault: 'the publication is missing, and the role that would make it may not',
    plant: [
      'CREATE ROLE plain_owner',
      'ALTER FUNCTION fhir_ensure_publication(text) OWNER TO plain_owner',
      'ALTER FUNCTION fhir_ensure_publication(text, integer, integer) OWNER TO plain_owner',
      'DROP PUBLICATION fhir_outbox_pub',
      'GRANT SELECT ON fhir_outbox TO plain_owner',
      'ALTER TABLE fhir_outbox OWNER TO plain_owner',
    ],
    check: 'Publication',
    says: /There is no publication/,
  },
  {
    fault: 'the publication has other tables, too',
    plant: ['ALTER PUBLICATION fhir_outbox_pub ADD TABLE patient'],
    check: 'Publication',
    verdict: 'warning',
    says: /also has patient:/,
  },
  {
    fault: 'the publication leaves inserts out',
    plant: ["ALTER PUBLICATION fhir_outbox_pub SET (publish = 'delete')"],
    check: 'Publication',
    says: /does not publish inserts/,
  },
  {
    fault: 'the publication has a row filter',
    plant: ['ALTER PUBLICATION fhir_outbox_pub SET TABLE fhir_outbox WHERE (id > 5)'],
    check: 'Publication',
    says: /row filter/,
  },
  {
    fault: 'the slot is a physical one',
    plant: [`SELECT pg_create_physical_replication_slot('${SLOT}')`],
    check: 'Slot',
    says: /of another kind \(physical\)/,
  },
  {
    fault: 'the outbox is unlogged',
    plant: ['DROP PUBLICATION fhir_outbox_pub', 'ALTER TABLE fhir_outbox SET UNLOGGED'],
    check: 'fhir_outbox',
    says: /unlogged/,
  },
];

describe('a healthy setting', () => {
  it('has no fault, and says what the connector will make', async () => {
    const all = await findings();
    expect(wrong(all)).toEqual([]);
    expect(all.find(({ check }) => check === 'Slot')?.found).toMatch(/the connector makes it when it starts/);
  });

  it('tells people with a sign a line, and a script by its exit status', async () => {
    const environment = {
      ...connectorEnvironment(database, sink.url),
      SLOT_NAME: SLOT,
      DB_USER: LOGIN.user,
      DB_PASSWORD: LOGIN.password,
    };
    const { status, stdout, stderr } = await runCommand(environment, 'doctor');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^✓ Connection: /m);
    expect(stdout).toMatch(/\n\n0 faults, 0 warnings\.\n$/);
    const elsewhere = await runCommand({ ...environment, DB_NAME: 'postgres' }, 'doctor');
    expect(elsewhere).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/^✗ Schema: The database has no table fhir_outbox/m),
    });
  });

  it('does not hide the slot from who may not read the tables, and does not take that for well', async () => {
    await run(database, `REVOKE fhir_connector FROM ${LOGIN.user}`);
    const environment = {
      ...connectorEnvironment(database, sink.url),
      SLOT_NAME: SLOT,
      DB_USER: LOGIN.user,
      DB_PASSWORD: LOGIN.password,
    };
    const { status, stdout } = await runCommand(environment, 'doctor');
    await run(database, `GRANT fhir_connector TO ${LOGIN.user}`);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^✓ Slot: There is no slot/m);
    expect(stdout).toMatch(/^\? Schema: PostgreSQL did not tell \(42501\)/m);
    expect(stdout).toMatch(/^1 fault, 0 warnings, \d could not be looked at\.$/m);
  });

  it('needs the rights that the role fhir_connector is given', async () => {
    const rows = await ask<{ granted: string }>(
      database,
      `SELECT granted FROM fhir_role_right WHERE role_name = 'fhir_connector' AND granted !~ 'FUNCTION|SEQUENCE'`,
    );
    const listed = rows.flatMap(({ granted }) => {
      const [rights = '', tables = ''] = granted.split(' ON ');
      return tables
        .split(', ')
        .flatMap((table) =>
          [...rights.matchAll(/([A-Z]+)(?: \(([^)]*)\))?/g)].map(
            ([, right, columns]) => `${right} ${table.replace('public.', '')} ${columns ?? ''}`,
          ),
        );
    });
    const needed = Object.entries(TABLE_RIGHTS).flatMap(([table, rights]) =>
      Object.entries(rights).map(([right, columns]) => `${right} ${table} ${columns?.join(', ') ?? ''}`),
    );
    expect(needed.toSorted()).toEqual(listed.toSorted());
  });
});

describe('a login that may do more than it needs', () => {
  it('is warned of where it is a superuser', async () => {
    await run(database, `ALTER ROLE ${LOGIN.user} SUPERUSER`);
    const all = await findings();
    await run(database, `ALTER ROLE ${LOGIN.user} NOSUPERUSER`);
    expect(wrong(all)).toMatchObject([
      {
        check: "Patients' tables",
        verdict: 'warning',
        found: expect.stringContaining(', as it is a superuser:'),
        fix: { sql: expect.stringContaining('LOGIN REPLICATION') },
      },
    ]);
  });

  it('is warned of where it owns the tables', async () => {
    await run(database, `GRANT CREATE ON SCHEMA public TO ${LOGIN.user}; ALTER TABLE pulse OWNER TO ${LOGIN.user}`);
    const all = await findings();
    await run(database, `ALTER TABLE pulse OWNER TO ${server.user}; REVOKE CREATE ON SCHEMA public FROM ${LOGIN.user}`);
    expect(wrong(all)).toMatchObject([
      { check: "Patients' tables", found: expect.stringMatching(/ pulse, as it is their owner:/) },
    ]);
  });
});

describe('a planted fault is found, and mended by what is said of it', () => {
  it.each(PLANTED)('$fault', async ({ plant, restart: mustRestart, check, verdict = 'fault', says }) => {
    for (const statement of plant) await run(database, statement);
    if (mustRestart) await restart();
    const found = (await findings()).find((finding) => finding.check === check);
    expect(found).toMatchObject({ verdict, found: expect.stringMatching(says) });
    const { say, sql = '' } = found?.fix ?? { say: '' };
    for (const statement of statementsOf(sql)) await run(database, statement);
    if (/restart/.test(say)) await restart();
    const after = await findings();
    expect(wrong(after)).toEqual([]);
    expect(after.find((finding) => finding.check === check)?.verdict).toBe('ok');
  });
});

describe('the publication of a shard', () => {
  const shard = { index: 1, count: 2 };
  const name = nameOf(PUBLICATION, shard);
  const now = async () => (await findings({ shard })).find(({ check }) => check === 'Publication');

  it('is well with the row filter of that shard and no other, and mended where it has another or none', async () => {
    expect(await now()).toMatchObject({ verdict: 'ok', found: expect.stringMatching(/The connector makes it/) });
    await run(database, `SELECT fhir_ensure_publication('${name}', 2, 1)`);
    expect(await now()).toMatchObject({ verdict: 'ok', found: expect.stringMatching(/publishes/) });
    for (const [tables, says] of [
      ['fhir_outbox', /has no row filter on fhir_outbox, and needs that of its shard/],
      [
        'fhir_outbox WHERE (abs(coalesce(patient_id, 0) % 2) = 0)',
        /has another row filter on fhir_outbox than that of its shard/,
      ],
    ] as const) {
      await run(database, `ALTER PUBLICATION ${name} SET TABLE ${tables}`);
      const found = await now();
      expect(found).toMatchObject({ verdict: 'fault', found: expect.stringMatching(says) });
      await run(database, found?.fix?.sql ?? '');
      expect(await now()).toMatchObject({ verdict: 'ok' });
    }
    await run(database, `DROP PUBLICATION ${name}`);
  });
});

describe('a slot', () => {
  it('that nobody reads while rows wait is a fault, and mended by a connector', async () => {
    const slot = slotOf(database);
    const slotNow = async () => (await findings({ slot })).find(({ check }) => check === 'Slot');
    const first = startConnector(database, sink.url);
    const waiting = () => ask(database, 'SELECT FROM fhir_outbox WHERE NOT processed');
    await vi.waitFor(async () => expect(await waiting()).toEqual([]), PATIENCE);
    await first.stop();
    await run(database, "UPDATE patient SET name_given = 'Lise' WHERE identifier_value = 'two'");
    expect(await slotNow()).toMatchObject({
      verdict: 'fault',
      found: expect.stringMatching(/^Nobody reads .*; 1 outbox row waits/),
      fix: { say: expect.stringMatching(/Start the connector/) },
    });
    const second = startConnector(database, sink.url);
    try {
      await vi.waitFor(async () => expect(await slotNow()).toMatchObject({ verdict: 'ok' }), PATIENCE);
    } finally {
      await second.stop();
    }
  });
});

describe('a slot that PostgreSQL is still making', () => {
  it('is told, with the transaction that it waits for, and mended by the end of that', async () => {
    const slot = slotOf(database);
    await run(database, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots`);
    const open = new pg.Client(database.config);
    open.on('error', () => undefined);
    await open.connect();
    await open.query('BEGIN; CREATE TABLE opened ()');
    const { rows } = await open.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const connector = startConnector(database, sink.url);
    const slotNow = async (as: As = {}) => (await findings({ slot, ...as })).find(({ check }) => check === 'Slot');
    try {
      const ending = `SELECT pg_terminate_backend(${rows[0]?.pid});`;
      const waits = `waits for a transaction of ${database.config.user} that was open before`;
      await vi.waitFor(async () => {
        expect(await slotNow()).toMatchObject({
          verdict: 'fault',
          found: expect.stringMatching(`^PostgreSQL makes .* ${waits}; `),
          fix: { sql: ending },
        });
      }, PATIENCE);
      // The connector's role may not see for how long; a superuser may.
      const { user, password } = database.config;
      expect((await slotNow({ login: { user, password } }))?.found).toMatch(new RegExp(`${waits}, for \\d+ s now; `));
      await run(database, ending);
      await vi.waitFor(async () => expect(await slotNow()).toMatchObject({ verdict: 'ok' }), PATIENCE);
    } finally {
      await open.end().catch(() => undefined);
      await connector.stop();
    }
  });
});

describe('a lock on the tables', () => {
  it('is told for what it is: what could not be looked at in time, and the query for who blocks', async () => {
    const holder = new pg.Client(database.config);
    await holder.connect();
    try {
      await holder.query('BEGIN; LOCK TABLE fhir_outbox');
      const found = (await findings()).find(({ check }) => check === 'Sequences');
      expect(found).toMatchObject({
        verdict: 'unknown',
        found: 'PostgreSQL did not tell in time.',
        fix: { sql: expect.stringContaining('pg_locks') },
      });
      const { rows } = await holder.query(found?.fix?.sql ?? '');
      expect(rows).toEqual([expect.objectContaining({ relname: 'fhir_outbox' })]);
    } finally {
      await holder.end();
    }
  });
});

describe('a wrong name', () => {
  it('of the database is said, and nothing else is to be checked', async () => {
    const [found] = wrong(await findings({ login: { ...LOGIN, database: 'no_such' } }));
    expect(found).toEqual({
      check: 'Connection',
      verdict: 'fault',
      found: 'The database does not exist: check DB_NAME.',
      fix: null,
    });
  });

  it('of a database that is there is asked about, and the slot of the right one is not offered to be dropped', async () => {
    await run(database, `SELECT pg_create_logical_replication_slot('${SLOT}', 'pgoutput')`);
    try {
      const all = await findings({ login: { ...LOGIN, database: 'postgres' } });
      expect(all.find(({ check }) => check === 'Slot')).toEqual({
        check: 'Slot',
        verdict: 'fault',
        found: `${SLOT} serves another database (health).`,
        fix: { say: 'Is DB_NAME right? If it is, set SLOT_NAME to a name of its own.' },
      });
    } finally {
      await run(database, `SELECT pg_drop_replication_slot('${SLOT}')`);
    }
  });
});

describe('a FHIR server', () => {
  const serverThat = async (statement: object, status: number, metadata = 200) => {
    const http = createServer(({ url }, response) => {
      response.statusCode = url === '/fhir/metadata' ? metadata : status;
      response.setHeader('content-type', 'application/fhir+json').end(JSON.stringify(statement));
    });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    return { http, url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/fhir` };
  };

  it('that is not there is a fault', async () => {
    const { http, url } = await serverThat({}, 200);
    await new Promise((resolve) => http.close(resolve));
    expect(wrong(await findings({ fhirUrl: url }))).toEqual([
      expect.objectContaining({
        check: 'FHIR server',
        verdict: 'fault',
        fix: { say: expect.stringMatching(/FHIR_SERVER/) },
      }),
    ]);
  });

  it.each([401, 403])(
    'that lets nobody in (%i) is told with what to look at, which is not its address',
    async (status) => {
      const { http, url } = await serverThat({}, status, status);
      try {
        expect(wrong(await findings({ fhirUrl: url }))).toMatchObject([
          { check: 'FHIR server', verdict: 'fault', fix: { say: expect.stringMatching(/demands of who asks/) } },
        ]);
      } finally {
        http.close();
      }
    },
  );

  it('that does not let us read is a fault', async () => {
    const { http, url } = await serverThat(capabilityStatement('closed'), 403);
    try {
      expect(wrong(await findings({ fhirUrl: url }))).toMatchObject([
        { check: 'FHIR search', verdict: 'fault', fix: { say: expect.stringMatching(/Allow this client/) } },
      ]);
    } finally {
      http.close();
    }
  });

  it('that does not offer what the configuration needs is told with what to set', async () => {
    const statement = {
      ...capabilityStatement('poor'),
      rest: [{ mode: 'server', resource: [{ type: 'Patient', conditionalUpdate: false, versioning: 'versioned' }] }],
    };
    const { http, url } = await serverThat(statement, 200);
    try {
      expect((await findings({ fhirUrl: url })).filter(({ check }) => check === 'FHIR capabilities')).toMatchObject([
        {
          verdict: 'warning',
          found: expect.stringMatching(/does not offer conditional update.*cannot be delivered\.$/),
          fix: { say: expect.stringMatching(/^Switch it on on the server/) },
        },
      ]);
    } finally {
      http.close();
    }
  });
});

/** None of the fixes has a semicolon within a statement. */
function statementsOf(sql: string): string[] {
  return sql
    .split(';')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}
