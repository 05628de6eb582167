// A second connector stands by on the slot: how long until its first PUT when the one that works ends, is killed, or is cut off.
import { TcpProxy } from '../../test/support/tcp-proxy.ts';
import type { Arena } from '../arena.ts';
import { now } from '../clock.ts';
import { Connector } from '../connector.ts';
import { updateOneByOne } from '../patients.ts';
import { linkPatients } from './drain.ts';

const PATIENTS = 10;
const WIDTH = 4;
/** The longest of so many: what is promised is a bound. */
const TIMES = 3;

/** Seconds from the end or the cut to the PUT of a change that is committed after it. */
export interface Takeover {
  readonly sigterm: number;
  readonly sigkill: number;
  readonly cut: number;
}

interface Working {
  readonly active: Connector;
  /** Between it and PostgreSQL. */
  readonly proxy: TcpProxy;
}

type End = (working: Working) => Promise<void> | void;

export async function takeover(arena: Arena): Promise<Takeover> {
  return {
    sigterm: await longest(arena, ({ active }) => active.stop()),
    sigkill: await longest(arena, ({ active }) => active.kill()),
    // wal_sender_timeout is 10 s, which the connector sets for its connections itself.
    cut: await longest(arena, ({ proxy }) => proxy.fallSilent()),
  };
}

async function longest(arena: Arena, end: End): Promise<number> {
  const seconds: number[] = [];
  for (let time = 0; time < TIMES; time += 1) seconds.push(await once(arena, end));
  return Math.max(...seconds);
}

async function once(arena: Arena, end: End): Promise<number> {
  const database = await arena.database();
  const { sink } = arena;
  sink.configure({ latencyMs: 0 });
  const proxy = await TcpProxy.start(database.config.host, database.config.port);
  let active: Connector | undefined;
  let standby: Connector | undefined;
  try {
    await linkPatients(arena, database, PATIENTS);
    const throughProxy = { ...database, config: { ...database.config, port: proxy.port } };
    active = Connector.start(throughProxy, sink.url, WIDTH);
    await active.streaming();
    standby = Connector.start(database, sink.url, WIDTH);
    await standby.standingBy();
    const reached = sink.expect(1);
    const endedAt = now();
    await end({ active, proxy });
    await updateOneByOne(database, PATIENTS, 1);
    const { firstAt } = await reached;
    return (firstAt - endedAt) / 1000;
  } finally {
    await active?.kill();
    await standby?.stop();
    await proxy.stop();
    await database.drop();
  }
}
