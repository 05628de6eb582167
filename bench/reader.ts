// A reader of a slot as the connector is one, in this process: what its walsender uses to decode up to a mark in the WAL.
import { LSN_ZERO, type Lsn } from '../src/postgres/lsn.ts';
import { ReplicationConnection } from '../src/replication/stream/connection.ts';
import type { DatabaseTarget } from '../test/support/connector.ts';
import { cpuSeconds } from './usage.ts';

/** Often enough for the server to know that we live. */
const SIGN_OF_LIFE_MS = 2500;
/** As often as the connector acknowledges what it finished. */
const ACKNOWLEDGE_MS = 50;

export interface Read {
  /** That were handed out. */
  readonly rows: number;
  /** Of the walsender. */
  readonly cpuSeconds: number;
  readonly seconds: number;
}

export interface ReadOptions {
  readonly slot: string;
  readonly publication: string;
  /** Content of the mark. */
  readonly until: string;
  /** Otherwise the slot stays where it is, and can be read again. */
  readonly acknowledge: boolean;
}

/** Resolves, when it is streaming, to what comes of it at the mark. */
export async function startReading(
  { config }: DatabaseTarget,
  { slot, publication, until, acknowledge }: ReadOptions,
): Promise<{ readonly done: Promise<Read> }> {
  const connection = await ReplicationConnection.open(config, publication);
  const pid = connection.walsenderPid;
  const cpuBefore = cpuSeconds(pid);
  const startedAt = performance.now();
  await connection.start(slot);
  let reached: Lsn = LSN_ZERO;
  // 0/0 confirms nothing.
  const timer = setInterval(
    () => connection.sendStatus(acknowledge ? reached : LSN_ZERO),
    acknowledge ? ACKNOWLEDGE_MS : SIGN_OF_LIFE_MS,
  );
  const read = async (): Promise<Read> => {
    let rows = 0;
    for await (const batch of connection.messages()) {
      for (const message of batch) {
        if (message.tag === 'insert') rows += 1;
        else if (message.tag === 'commit') reached = message.endLsn;
        else if (message.tag === 'keepalive') reached = message.walEnd;
        else if (message.tag === 'heartbeat' && message.content === until) {
          const seconds = (performance.now() - startedAt) / 1000;
          return { rows, cpuSeconds: cpuSeconds(pid) - cpuBefore, seconds };
        }
      }
    }
    throw new Error(`The slot ${slot} ended before its mark.`);
  };
  const done = read().finally(async () => {
    clearInterval(timer);
    await connection.close();
  });
  // Whoever waits for it later is told all the same.
  done.catch(() => undefined);
  return { done };
}
