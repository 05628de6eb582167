// The kinds of faults: each strikes, lasts, and is over when its promise resolves, to the number of its hits.
import { setTimeout as pause } from 'node:timers/promises';
import type { Dice } from '../support/dice.ts';
import type { Fault, Request } from '../support/fhir-ledger.ts';
import { tokensOf } from '../support/fhir-ledger.ts';
import { ORACLE_SLOT } from './oracle.ts';
import { ask, shardsOf, type World } from './world.ts';

/** Resolves to how often something was really hit: a fault that met nothing has proved nothing. */
type Strike = (world: World, dice: Dice) => Promise<number>;

/** HAPI's answers to the loser of a race: for an identifier, or for a version. */
const RACE: readonly Fault[] = [
  { status: 409 },
  { status: 500, diagnostics: 'HAPI-0550: HAPI-0823: The operation has failed with a version constraint failure.' },
];

export const FAULTS: Readonly<Record<string, Strike>> = {
  'connector killed': async ({ connectors }, dice) => dice.pick(connectors).signal('SIGKILL'),
  'connector killed several times': async ({ connectors }, dice) => {
    let hits = 0;
    for (let kills = dice.int(3, 6); kills > 0; kills -= 1) {
      for (const connector of connectors) hits += connector.signal('SIGKILL');
      await pause(dice.int(900, 2500));
    }
    return hits;
  },
  'connector told to stop': async ({ connectors }, dice) => dice.pick(connectors).signal('SIGTERM'),
  'connector stopped in its tracks for longer than its lease': async ({ connectors }, dice) => {
    const zombie = dice.pick(connectors);
    const hits = zombie.signal('SIGSTOP');
    await pause(dice.int(11_000, 14_000));
    zombie.signal('SIGCONT');
    return hits;
  },
  'answers lost': (world, dice) => onWrites(world, 3000, () => (dice.chance(40) ? { cut: 'after' } : undefined)),
  'connections broken before the request is applied': (world, dice) =>
    onWrites(world, 3000, () => (dice.chance(40) ? { cut: 'before' } : undefined)),
  'answers later than the time-out': (world, dice) =>
    onWrites(world, 4000, ({ fenced }) => {
      if (!dice.chance(20)) return undefined;
      // A first contact, a delete, or a PUT that brings back what was deleted may be applied after its time-out, over what is
      // newer: docs/guarantees.md. An update may not.
      return !fenced || dice.chance(50) ? { cut: 'silent-after' } : { delay: pause(1500) };
    }),
  'FHIR server silent': (world) => onAll(world, 3000, () => ({ cut: 'silent-before' })),
  'storm of 429 with Retry-After': (world, dice) =>
    onWrites(world, 3000, () => (dice.chance(60) ? { status: 429, headers: { 'retry-after': '1' } } : undefined)),
  'storm of 429': (world, dice) => onWrites(world, 3000, () => (dice.chance(60) ? { status: 429 } : undefined)),
  'storm of 503 with Retry-After': (world) =>
    onAll(world, 3000, () => ({ status: 503, headers: { 'retry-after': '2' } })),
  'storm of 503': (world) => onAll(world, 3000, () => ({ status: 503 })),
  'race answers': (world, dice) =>
    onWrites(world, 3000, ({ path }) => (dice.chance(path.includes('?') ? 30 : 10) ? dice.pick(RACE) : undefined)),
  'FHIR server refuses everything': (world) => onAll(world, 3000, () => ({ status: 403 })),
  'some patients refused': (world) =>
    onWrites(world, 3000, ({ body }) => (isRefused(body) ? { status: 422 } : undefined)),
  'PostgreSQL silent': async ({ proxy }) => {
    proxy.fallSilent();
    await pause(13_000);
    proxy.recover();
    return 1;
  },
  'PostgreSQL crashed': async ({ postgres }) => {
    await postgres.pause('immediate');
    await postgres.start();
    return 1;
  },
  'PostgreSQL stopped fast': async ({ postgres }) => {
    const before = performance.now();
    await postgres.pause('fast');
    const seconds = (performance.now() - before) / 1000;
    await postgres.start();
    if (seconds > 10) throw new Error(`A fast stop of PostgreSQL took ${seconds.toFixed(1)} s.`);
    return 1;
  },
  'number of shards changed': async (world, dice) => {
    world.shards = dice.pick([1, 2, 4].filter((count) => count !== world.shards));
    let hits = 0;
    // As an orchestrator goes about it, or all at once; they start again with the new number.
    const gently = dice.chance(50);
    for (const connector of dice.shuffled(world.connectors)) {
      hits += connector.signal(dice.chance(70) ? 'SIGTERM' : 'SIGKILL');
      if (gently) await pause(dice.int(100, 1500));
    }
    return hits;
  },
  'walsender ended': async (world, dice) => {
    const { db } = world;
    const { slot } = dice.pick(shardsOf(world));
    const ended = await ask(
      db,
      'SELECT FROM pg_replication_slots WHERE slot_name = $1 AND active AND pg_terminate_backend(active_pid)',
      [slot],
    );
    return ended.length;
  },
  'slot dropped': async (world, dice) => {
    const { db } = world;
    const { slot } = dice.pick(shardsOf(world));
    const before = await ask(db, 'SELECT FROM pg_replication_slots WHERE slot_name = $1', [slot]);
    await ask(
      db,
      `DO $$ BEGIN
         FOR tries IN 1..50 LOOP
           PERFORM pg_terminate_backend(active_pid, 1000) FROM pg_replication_slots WHERE slot_name = '${slot}';
           BEGIN
             PERFORM pg_drop_replication_slot('${slot}');
             RETURN;
           EXCEPTION WHEN object_in_use THEN NULL; WHEN undefined_object THEN RETURN;
           END;
         END LOOP;
       END $$`,
    );
    return before.length;
  },
  'slot lost to WAL': async (world) => {
    const { connectors, db } = world;
    const slots = shardsOf(world).map(({ slot }) => slot);
    await Promise.all(connectors.map((connector) => connector.stop('SIGKILL')));
    let lost = 0;
    try {
      for (let rounds = 0; rounds < 30 && lost === 0; rounds += 1) {
        await ask(
          db,
          `SELECT pg_logical_emit_message(false, 'ballast', repeat('x', 4000000)) FROM generate_series(1, 2)`,
        );
        await ask(db, 'SELECT pg_switch_wal()');
        await oracleFollows(db);
        // The limit is every slot's, so it stands only now that the test's own needs nothing old.
        await ask(db, `ALTER SYSTEM SET max_slot_wal_keep_size = '32MB'`);
        await ask(db, 'SELECT pg_reload_conf()');
        await ask(db, 'CHECKPOINT');
        await ask(db, 'ALTER SYSTEM RESET max_slot_wal_keep_size');
        await ask(db, 'SELECT pg_reload_conf()');
        const found = await ask<{ lost: boolean }>(
          db,
          `SELECT wal_status = 'lost' AS lost FROM pg_replication_slots WHERE slot_name = ANY ($1)`,
          [slots],
        );
        if (found.length === 0) break;
        lost = found.filter((row) => row.lost).length;
      }
    } finally {
      for (const connector of connectors) connector.start();
    }
    return lost;
  },
  'publication dropped': async (world, dice) => {
    const { db } = world;
    const { publication } = dice.pick(shardsOf(world));
    const before = await ask(db, 'SELECT FROM pg_publication WHERE pubname = $1', [publication]);
    await ask(db, `DROP PUBLICATION IF EXISTS ${publication}`);
    return before.length;
  },
};

/** Resolves when the oracle's slot needs no WAL from before the call. */
async function oracleFollows(db: World['db']): Promise<void> {
  const [before] = await ask<{ lsn: string }>(db, 'SELECT pg_current_wal_lsn()::text AS lsn');
  for (;;) {
    // What a slot needs is told anew where the WAL says which transactions run.
    await ask(db, 'SELECT pg_log_standby_snapshot()');
    const follows = await ask(
      db,
      'SELECT FROM pg_replication_slots WHERE slot_name = $1 AND restart_lsn >= $2::pg_lsn',
      [ORACLE_SLOT, before?.lsn],
    );
    if (follows.length > 0) return;
    await pause(50);
  }
}

/** So many milliseconds the fault may meet writes; afterwards the server is well. */
function onWrites(world: World, ms: number, fault: (request: Request) => Fault | undefined): Promise<number> {
  return onAll(world, ms, (request) =>
    request.method === 'PUT' || request.method === 'DELETE' ? fault(request) : undefined,
  );
}

/** Control reads are met, too. */
async function onAll({ fhir }: World, ms: number, fault: (request: Request) => Fault | undefined): Promise<number> {
  let hits = 0;
  const counted = (request: Request): Fault | undefined => {
    const met = fault(request);
    if (met) hits += 1;
    return met;
  };
  fhir.faults.add(counted);
  await pause(ms);
  fhir.faults.delete(counted);
  return hits;
}

function isRefused(body: Request['body']): boolean {
  return tokensOf(body).some((token) => /[37]$/.test(token));
}
