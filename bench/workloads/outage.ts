// The FHIR server is away while changes go on, and comes back: how long until all is made up for, and what memory that took.
import { setTimeout as delay } from 'node:timers/promises';
import type { Arena } from '../arena.ts';
import { now } from '../clock.ts';
import { Connector } from '../connector.ts';
import { allProcessed, updateOneByOne } from '../patients.ts';
import { linkPatients } from './drain.ts';

const PATIENTS = 2000;
const PER_SECOND = 200;

export interface Outage {
  readonly backlog: number;
  /** Changes a second once the server is back. */
  readonly rate: number;
  readonly peakMB: number;
}

export async function outage(arena: Arena, seconds: number): Promise<Outage> {
  const database = await arena.database();
  const { sink } = arena;
  sink.configure({ latencyMs: 0 });
  let connector: Connector | undefined;
  try {
    await linkPatients(arena, database, PATIENTS);
    connector = Connector.start(database, sink.url, 32);
    await connector.streaming();
    const backlog = PER_SECOND * seconds;
    const reached = sink.expect(backlog);
    sink.configure({ failing: true });
    for (let second = 0; second < seconds; second += 1) {
      await Promise.all([updateOneByOne(database, PATIENTS, PER_SECOND, second * PER_SECOND + 1), delay(1000)]);
    }
    sink.configure({ failing: false });
    const { firstAt } = await reached;
    await allProcessed(database);
    const rate = backlog / ((now() - firstAt) / 1000);
    const { rows } = await database.pool.query<{ n: string }>('SELECT count(*) AS n FROM fhir_dlq');
    if (Number(rows[0]?.n) > 0) throw new Error(`The outage made ${rows[0]?.n} dead letters.`);
    return { backlog, rate, peakMB: connector.peakMB };
  } finally {
    sink.configure({ failing: false });
    await connector?.stop();
    await database.drop();
  }
}
