// All that `doctor` looks at, in the order in which a start of the connector would come to it. Nothing is changed.
import type { Needs } from '../fhir/client/capabilities.ts';
import type { FhirClient } from '../fhir/client/fhir-client.ts';
import { PostgresClient } from '../postgres/client.ts';
import { isPostgres } from '../postgres/errors.ts';
import { refusal } from '../replication/server/diagnosis.ts';
import { namesOf, type SlotSettings } from '../replication/slot/slot-settings.ts';
import { migrationNames } from '../schema/migrate.ts';
import { OTHERS, othersFinding, PATIENTS, patientsFinding } from './excess-rights.ts';
import { failoverFindings } from './failover.ts';
import { fhirFindings } from './fhir-server.ts';
import { type Finding, fault, ok } from './finding.ts';
import { look } from './look.ts';
import { otherShardsFindings } from './other-shards.ts';
import { serverFindings } from './postgres.ts';
import { publicationFinding } from './publication.ts';
import { rightsFindings } from './rights.ts';
import { hasOutbox, schemaFindings } from './schema.ts';
import { slotFinding } from './slot.ts';

/** What `run` would be started with. */
export interface Setting {
  readonly slot: SlotSettings;
  readonly fhir: FhirClient;
  readonly needs: Needs;
}

const NAMES_A_VARIABLE = /\bDB_[A-Z]/;
const CHECK_ALL = {
  say: 'Check DB_HOST, DB_PORT, DB_TARGET_SESSION_ATTRS, DB_NAME, DB_USER, DB_PASSWORD, DB_SSLMODE, DB_SSLROOTCERT, DB_SSLCERT and DB_SSLKEY.',
};

export async function examine(setting: Setting): Promise<Finding[]> {
  const [database, server] = await Promise.all([databaseFindings(setting), fhirFindings(setting.fhir, setting.needs)]);
  return [...database, ...server];
}

async function databaseFindings({ slot: settings, needs }: Setting): Promise<Finding[]> {
  const { config, shard, slotBase } = settings;
  const { slot, publication } = namesOf(settings);
  const client = new PostgresClient({ ...config, application_name: 'fhir-connector doctor' });
  try {
    await client.connect();
  } catch (error) {
    const sentence = refusal(error);
    return [fault('Connection', sentence, NAMES_A_VARIABLE.test(sentence) ? null : CHECK_ALL)];
  }
  try {
    // Here, for a pooler may refuse it in the connection's options.
    await client.query("SET statement_timeout = '10s'");
    const hasSchema = await hasOutbox(client);
    return [
      ok('Connection', `PostgreSQL${config.hosts ? ` at ${client.host}:${client.port}` : ''} lets the user in.`),
      ...(await look('Server', () => serverFindings(client, slot))),
      ...(await look('Rights', () => rightsFindings(client, hasSchema))),
      ...(hasSchema ? await look(PATIENTS, () => patientsFinding(client)) : []),
      ...(hasSchema ? await look(OTHERS, () => othersFinding(client)) : []),
      ...(await schemaFindings(client, hasSchema, await migrationNames(), needs.resources)),
      ...(hasSchema ? await look('Publication', () => publicationFinding(client, publication, shard)) : []),
      ...(await look('Slot', () => slotFinding(client, slot, shard, hasSchema))),
      ...(await look('Other shards', () => otherShardsFindings(client, slotBase, shard))),
      ...(await look('Failover slot', () => failoverFindings(client, slot))),
    ];
  } catch (error) {
    if (!isPostgres(error)) throw error;
    return [
      fault('Connection', 'PostgreSQL let the user in, and then did not answer.', {
        say: 'Look again; if it stays so, see its log.',
      }),
    ];
  } finally {
    await client.end().catch(() => undefined);
  }
}
