// How long from COMMIT to the PUT's arrival, beside a bare PUT of the same moments.
//
// The commit's time is taken in the client BEFORE it sends COMMIT. After its answer would flatter: the PUT can arrive
// before the client hears of its commit. So the time that PostgreSQL takes to flush the commit is in the measure. It is
// also told apart, and the target has it in its bound: nothing can be sent before, and where the disk stands still for a
// moment it is nearly all.
import { setTimeout as delay, setInterval } from 'node:timers/promises';
import { Pool } from 'undici';
import type { Arena, BenchDatabase } from '../arena.ts';
import { now } from '../clock.ts';
import { Connector } from '../connector.ts';
import { patientBody } from '../patient.ts';
import { allProcessed, insertPatients } from '../patients.ts';
import { percentile } from '../statistics.ts';

const PATIENTS = 200;
/** Beyond the numbers of the transactions' phones. */
const BARE = 10_000_000;

interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

/** All in milliseconds. */
export interface Latency {
  readonly commitToPut: Percentiles;
  readonly ofWhichCommit: Percentiles;
  readonly barePut: Percentiles;
}

/** `perSecond` transactions and as many bare PUTs, whether or not the ones before are finished. */
export async function latency(arena: Arena, perSecond: number, seconds: number): Promise<Latency> {
  const database = await arena.database();
  const { sink } = arena;
  const http = new Pool(new URL(sink.url).origin, { connections: 8 });
  sink.configure({ latencyMs: 0 });
  const connector = Connector.start(database, sink.url, 32);
  try {
    await connector.streaming();
    await insertPatients(database, PATIENTS);
    await allProcessed(database);
    sink.reset();
    const committedAt = new Map<number, number>();
    const sentAt = new Map<number, number>();
    const roundTrips: number[] = [];
    const running: Promise<void>[] = [];
    const interval = 1000 / perSecond;
    const started = performance.now();
    for await (const _ of setInterval(Math.max(1, interval))) {
      // As many as are due by now: a timer that comes late makes up for it.
      const due = Math.min(perSecond * seconds, Math.floor((performance.now() - started) / interval));
      for (let n = running.length / 2 + 1; n <= due; n += 1) {
        running.push(
          transaction(database, n, committedAt, roundTrips),
          // Half an interval after the transaction, so that neither waits for the other.
          delay(interval / 2).then(() => barePut(http, BARE + n, sentAt)),
        );
      }
      if (due === perSecond * seconds) break;
    }
    await Promise.all(running);
    await allProcessed(database);
    const arrivedAt = new Map((await sink.report()).arrivals);
    return {
      commitToPut: percentiles(untilArrival(committedAt, arrivedAt)),
      ofWhichCommit: percentiles(roundTrips),
      barePut: percentiles(untilArrival(sentAt, arrivedAt)),
    };
  } finally {
    await http.close();
    await connector.stop();
    await database.drop();
  }
}

async function transaction(
  { pool }: BenchDatabase,
  n: number,
  committedAt: Map<number, number>,
  roundTrips: number[],
): Promise<void> {
  const client = await pool.connect();
  await client.query('BEGIN');
  await client.query('UPDATE patient SET phone_number = $1 WHERE id = $2', [String(n), (n % PATIENTS) + 1]);
  const sent = now();
  committedAt.set(n, sent);
  await client.query('COMMIT');
  roundTrips.push(now() - sent);
  client.release();
}

/** What the connector would send, without the connector. */
async function barePut(http: Pool, n: number, sentAt: Map<number, number>): Promise<void> {
  const id = `bare-${n % PATIENTS}`;
  const body = patientBody(id, n);
  sentAt.set(n, now());
  const headers = { 'content-type': 'application/fhir+json' };
  const answer = await http.request({ method: 'PUT', path: `/fhir/Patient/${id}`, headers, body });
  await answer.body.dump();
}

/** Milliseconds from each start to the arrival of its PUT; infinite where none arrived. */
function untilArrival(starts: ReadonlyMap<number, number>, arrivedAt: ReadonlyMap<number, number>): number[] {
  return [...starts].map(([n, at]) => (arrivedAt.get(n) ?? Number.POSITIVE_INFINITY) - at);
}

function percentiles(samples: readonly number[]): Percentiles {
  return { p50: percentile(samples, 50), p99: percentile(samples, 99) };
}
