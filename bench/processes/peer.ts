// The peer: pg-transactional-outbox's replication listener, which PUTs each message's Patient to the sink until it is
// ended. `node peer.ts CONNECTION STRATEGY URL`, CONNECTION as JSON for pg; its slot is in the package's own variable.
import {
  createReplicationMutexConcurrencyController,
  createReplicationSegmentMutexConcurrencyController,
  getDisabledLogger,
  getOutboxReplicationListenerSettings,
  initializeReplicationMessageListener,
} from 'pg-transactional-outbox';
import { Pool } from 'undici';

/** One message after another, which is the package's default, or one of each patient at a time. */
export type PeerStrategy = 'plain' | 'segment';

/** What a message of this benchmark carries. */
interface Payload {
  readonly patient: object;
  readonly id: string;
  readonly phone: string;
}

/** Connections to the sink; to PostgreSQL as many, where the package alone would take 10. */
const WIDTH = 32;

const [connection = '', strategy = '', url = ''] = process.argv.slice(2);
const database = JSON.parse(connection);
const http = new Pool(new URL(url).origin, { connections: WIDTH, pipelining: 1 });
const headers = { 'content-type': 'application/fhir+json', accept: 'application/fhir+json', prefer: 'return=minimal' };

async function put({ patient, id, phone }: Payload): Promise<void> {
  const body = JSON.stringify({ ...patient, telecom: [{ system: 'phone', value: phone }], id });
  const answer = await http.request({ method: 'PUT', path: `/fhir/Patient/${id}`, headers, body });
  await answer.body.dump();
  if (answer.statusCode >= 300) throw new Error(`The sink answered ${answer.statusCode}.`);
}

initializeReplicationMessageListener(
  {
    outboxOrInbox: 'outbox',
    dbListenerConfig: database,
    dbHandlerConfig: { ...database, max: WIDTH },
    // Its defaults for an outbox: they spare each message the transaction that counts attempts.
    settings: getOutboxReplicationListenerSettings(),
  },
  { handle: ({ payload }) => put(payload as Payload) },
  getDisabledLogger(),
  {
    concurrencyStrategy:
      strategy === 'segment'
        ? createReplicationSegmentMutexConcurrencyController()
        : createReplicationMutexConcurrencyController(),
  },
);
