// A thousand changes of one patient: each is a version of its own, so nothing here can go side by side.
import type { Arena } from '../arena.ts';
import { now } from '../clock.ts';
import { Connector } from '../connector.ts';
import { allProcessed, updateOneByOne } from '../patients.ts';
import { linkPatients } from './drain.ts';

export interface HotPatient {
  /** Changes a second. */
  readonly rate: number;
  /** PUTs a second, one after the other. */
  readonly putRate: number;
}

export async function hotPatient(arena: Arena, changes: number): Promise<HotPatient> {
  const database = await arena.database();
  const { sink } = arena;
  sink.configure({ latencyMs: 0 });
  let connector: Connector | undefined;
  try {
    await linkPatients(arena, database, 1);
    await updateOneByOne(database, 1, changes);
    const reached = sink.expect(changes);
    connector = Connector.start(database, sink.url, 32);
    const { firstAt } = await reached;
    await allProcessed(database);
    const rate = changes / ((now() - firstAt) / 1000);
    const { misordered, duplicates } = await sink.report();
    if (misordered + duplicates > 0) throw new Error(`${misordered} PUTs out of order, ${duplicates} twice.`);
    return { rate, putRate: (await arena.putFloor(1, changes)).rate };
  } finally {
    await connector?.stop();
    await database.drop();
  }
}
