// Clients that each update patients of their own, one a transaction, as fast as the answers come.
// `node update-load.ts CONNECTION CLIENTS PATIENTS SECONDS`, CONNECTION as JSON for pg.
import pg from 'pg';
import { cpuSeconds } from '../usage.ts';

const [connection = '', clients = '', patients = '', seconds = ''] = process.argv.slice(2);
const share = Math.floor(Number(patients) / Number(clients));
let updates = 0;

async function client(number: number, until: number, db: pg.Client): Promise<void> {
  for (let n = 0; performance.now() < until; n += 1) {
    await db.query({
      name: 'update',
      text: 'UPDATE patient SET phone_number = $1 WHERE id = $2',
      values: [String(n), number * share + (n % share) + 1],
    });
    updates += 1;
  }
}

const connections = await Promise.all(
  Array.from({ length: Number(clients) }, async () => {
    const db = new pg.Client(JSON.parse(connection));
    await db.connect();
    return db;
  }),
);
const run = (milliseconds: number) =>
  Promise.all(connections.map((db, number) => client(number, performance.now() + milliseconds, db)));

// The first half second does not count: plans are made, and machine code.
await run(500);
updates = 0;
const cpuBefore = cpuSeconds();
const started = performance.now();
await run(Number(seconds) * 1000);
const elapsed = (performance.now() - started) / 1000;
console.log(JSON.stringify({ rate: updates / elapsed, cpuMs: ((cpuSeconds() - cpuBefore) * 1000) / updates }));
await Promise.all(connections.map((db) => db.end()));
