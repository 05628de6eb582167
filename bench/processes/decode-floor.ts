// Decoding alone: the replication library reads the slot, and nothing is done with what it reads.
// `node decode-floor.ts CONNECTION SLOT PUBLICATION ROWS`, CONNECTION as JSON for pg.
import { LogicalReplicationService, PgoutputPlugin } from 'pg-logical-replication';
import { cpuSeconds } from '../usage.ts';

const [connection = '', slot = '', publication = '', count = ''] = process.argv.slice(2);
const service = new LogicalReplicationService(JSON.parse(connection), {
  acknowledge: { auto: false, timeoutSeconds: 0 },
});
let rows = 0;
let first = 0;
service.on('data', (_, message: { tag: string }) => {
  if (message.tag !== 'insert') return;
  rows += 1;
  if (rows === 1) first = performance.now();
  if (rows === Number(count)) {
    const seconds = (performance.now() - first) / 1000;
    console.log(JSON.stringify({ rate: rows / seconds, cpuMs: (cpuSeconds() * 1000) / rows }));
    // Its own stop waits for all that is still to come.
    process.exit();
  }
});
await service.subscribe(new PgoutputPlugin({ protoVersion: 1, publicationNames: [publication] }), slot);
