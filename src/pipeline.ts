// The page to read first: how a committed row becomes a PUT, and when its LSN is acknowledged.
//
//   slot → messages → transactions → deliveries → lanes → courier → FHIR server
//                                                            │
//   slot ← status  ← feedback  ←  finished  ←  recorded in PostgreSQL
//
// Data flows to the right. What was delivered comes back by the promise `finished` alone. Beside it, while the slot is taken,
// the tenure calls back (`TenureCallbacks`): to stand by, and to catch up before anything is read; and a write that must not be
// sent any more, because the slot was lost, throws (src/outbox/courier/slot-guard.ts) and begins anew under the next tenure.
import { FatalError } from './fatal.ts';
import { lacking } from './fhir/client/capabilities.ts';
import { Stopped } from './outbox/courier/slot-guard.ts';
import { TransactionRows } from './outbox/delivery/transaction-rows.ts';
import type { CommittedTransaction } from './outbox/lanes/scheduler.ts';
import { warnOfUnwatched } from './outbox/operator/watched.ts';
import { replayWaiting } from './outbox/upkeep/replay-waiting.ts';
import { pause, untilAborted } from './pause.ts';
import { errorCode } from './postgres/errors.ts';
import type { Lsn } from './postgres/lsn.ts';
import type { Ticket } from './replication/acknowledgement/ack-tracker.ts';
import { diagnose } from './replication/server/diagnosis.ts';
import { Tenure, type TenureCallbacks } from './replication/slot/tenure.ts';
import { type AtServer, ServerSession, type ServerSessionParts } from './server-session.ts';

export interface PipelineParts extends ServerSessionParts {
  /** FHIR_RESOURCES. */
  readonly resources: readonly string[];
}

const RETRY_MS = 1000;
/** PostgreSQL's fast shutdown waits for the tenure to close. */
const QUIET_MS = 1500;
const OUTBOX_TABLE = 'fhir_outbox';

/** Runs until `signal` is aborted, then finishes what is in flight. Rejects with a FatalError, or with what is a bug. */
export async function runPipeline(parts: PipelineParts, signal: AbortSignal): Promise<void> {
  const { metrics, log } = parts;
  // Five signals end things. The first three, each aborted by those above it as well:
  //   signal   the process is to stop
  //   stop     or there is a bug: the slot is neither taken nor read any more
  //   ended    (in `stream`) or the slot was lost: nothing is begun any more under this tenure
  // And in the engine, by `stopDelivery`:
  //   #endsWaits      nothing waits any more, for a retry, the FHIR server or the slot
  //   #endsRecording  what was in flight is finished, or SHUTDOWN_TIMEOUT_MS is over: nothing is recorded any more
  //
  // A delivery that fails in a way nobody foresaw ends the process: skipping it would lose it.
  const bug = new AbortController();
  const stop = AbortSignal.any([signal, bug.signal]);
  const session = new ServerSession(parts);
  let tenure: Tenure | null = null;
  try {
    const taking = takeSlot(parts, session, { atStart: true }, stop);
    await Promise.all([taking, waitForFhirServer(parts, stop)]).catch((error: unknown) => {
      // One of the two failed: the other must not go on waiting. (A stop ends both and is no failure.)
      if (!stop.aborted) bug.abort(error);
      taking.then(
        (taken) => taken.close(),
        () => undefined,
      );
      throw error;
    });
    tenure = await taking;
    for (;;) {
      // The same as while the slot was taken (`catchUpAt`): a second arrival at one server changes nothing.
      const at = await session.arrive(tenure.server);
      try {
        await stream(parts, tenure, at, stop, (error) => bug.abort(error));
      } catch (error) {
        stop.throwIfAborted();
        if (!tenure.ended.aborted) throw error;
        metrics.connectorState.set('reconnecting');
        metrics.reconnects.inc();
        log.warn({ code: errorCode(tenure.ended.reason) }, 'The replication connection was lost; connecting again.');
        // Until the tenure is closed nobody else takes the slot: what is on its way may end, and nothing new begins.
        await at.engine.quiet(QUIET_MS);
      }
      await tenure.close();
      tenure = await takeSlot(parts, session, { atStart: false }, stop);
    }
  } catch (error) {
    if (error !== stop.reason) throw error;
    if (bug.signal.aborted) throw bug.signal.reason;
    metrics.connectorState.set('stopping');
    log.info('Stopping: finishing what is in flight.');
  } finally {
    // What is in flight is recorded first, then acknowledged as the slot goes back; `leave` has nothing to stop then, and drops the rest.
    await session.stopDelivery();
    await tenure?.close();
    await session.leave();
  }
}

/** Reads the slot from taking it to losing it. Returns only by throwing: the slot was lost, or `stop` was aborted. */
async function stream(
  { slot: { shard }, resources, metrics, log }: PipelineParts,
  tenure: Tenure,
  { server, db, engine, catchUp, retention }: AtServer,
  stop: AbortSignal,
  onBug: (error: unknown) => void,
): Promise<void> {
  const { feedback, lease } = tenure;
  const { scheduler } = engine;
  const ended = AbortSignal.any([stop, tenure.ended]);
  stop.addEventListener('abort', () => tenure.stopReading(), { once: true, signal: tenure.ended });
  // An abort from before the listener was there is not told to it.
  ended.throwIfAborted();
  engine.hold({ lease, newAfter: null });
  if (!tenure.caughtUp) await catchUp.run(engine, ended);
  // From here on what was committed before we held the slot is looked up before it is sent, and what is later is not.
  const { newAfter, snapshot } = await tenure.standpoint();
  engine.hold({ lease, newAfter });
  metrics.connectorState.set('streaming');
  log.info({ slot: tenure.slot, timeline: tenure.server.identity.timeline }, 'Streaming.');
  // Beside the stream, and over when the slot is lost: a standby removes and replays nothing. Of several shards one does it for all.
  if (shard.index === 0) {
    void retention.run(ended);
    void replayWaiting(db, log, ended);
    void warnOfUnwatched(db, resources, log);
  }

  let swept = false;
  let open: { ticket: Ticket; committedAt: Date; rows: TransactionRows } | null = null;
  for await (const batch of tenure.messages()) {
    const committed: (CommittedTransaction & { ticket: Ticket })[] = [];
    /** How far the stream is. */
    let position: Lsn | null = null;
    /** How far the WAL is for certain: a commit or a message of ours is read from it. */
    let reached: Lsn | null = null;
    for (const message of batch) {
      switch (message.tag) {
        case 'begin':
          // The tracker hears of it before anything is awaited: no keepalive can be acknowledged past it.
          open = { ticket: feedback.begin(), committedAt: message.committedAt, rows: new TransactionRows() };
          break;
        case 'insert':
          // Somebody may have added a table to the publication; its rows are none of ours.
          if (message.table === OUTBOX_TABLE) open?.rows.add(message.row, message.bytes);
          break;
        case 'commit':
          if (open) committed.push({ ...open, endLsn: message.endLsn });
          open = null;
          position = message.endLsn;
          reached = message.endLsn;
          break;
        case 'heartbeat':
          metrics.heartbeat.set((Date.now() - Number(message.content)) / 1000);
          feedback.idle(message.walEnd);
          if (feedback.unfinished === 0) metrics.progressed();
          position = message.walEnd;
          reached = message.walEnd;
          break;
        case 'keepalive':
          // Only the keepalive says so: it may begin the sweep, and is acknowledged once the WAL is known to reach it.
          feedback.idle(message.walEnd);
          position = message.walEnd;
          break;
      }
    }
    // Before any of it is on its way: where the server is behind this one day, what was on its way is not there any more.
    if (reached !== null) server.saw(reached);
    // `prepare` waits for the database and `schedule` for room in the lanes, for long perhaps; a stop or a lost slot waits for neither.
    for (const transaction of await untilAborted(scheduler.prepare(committed), ended)) {
      const { finished } =
        scheduler.scheduleAtOnce(transaction) ?? (await untilAborted(scheduler.schedule(transaction, ended), ended));
      // Named alone: what waits must not keep the transaction's rows in memory.
      const { endLsn, ticket } = transaction;
      finished.then(
        () => feedback.finish(ticket, endLsn),
        (error: unknown) => {
          // It stays unfinished, so its LSN is never acknowledged; after a stop it is sent again.
          if (!(error instanceof Stopped)) onBug(error);
        },
      );
    }
    if (!swept && position !== null && position > newAfter) {
      swept = true;
      catchUp.sweep(engine, snapshot, ended).catch((error: unknown) => {
        if (!ended.aborted) onBug(error);
      });
    }
  }
  stop.throwIfAborted();
}

/** Waits for PostgreSQL and for the slot, a line a second. At the first start what waiting cannot mend ends the process. */
async function takeSlot(
  { slot, metrics, log }: PipelineParts,
  session: ServerSession,
  { atStart }: { atStart: boolean },
  stop: AbortSignal,
): Promise<Tenure> {
  const callbacks: TenureCallbacks = {
    standingBy() {
      metrics.connectorState.set('standby');
      // Another connector delivers now what is in memory here. What it leaves unfinished the slot will send again.
      return session.leave();
    },
    async catchUpAt(server) {
      // It is our turn.
      if (metrics.connectorState.get() === 'standby') metrics.connectorState.set('starting');
      return (await session.arrive(server)).catchUp;
    },
    linksChanged: () => session.forgetLinks(),
  };
  for (;;) {
    try {
      return await Tenure.take(slot, callbacks, log, stop);
    } catch (error) {
      stop.throwIfAborted();
      const diagnosis = error instanceof FatalError ? { kind: 'fatal', sentence: error.message } : diagnose(error);
      if (diagnosis.kind === 'fatal' && atStart) throw new FatalError(diagnosis.sentence);
      log.warn({ code: errorCode(error) }, diagnosis.sentence);
      await pause(RETRY_MS, stop);
    }
  }
}

/** Waits until the FHIR server answers, a line a second. What is no FHIR R4 server ends the process. */
async function waitForFhirServer(
  { fhir, outbox, resources, metrics, log }: PipelineParts,
  stop: AbortSignal,
): Promise<void> {
  for (;;) {
    const answer = await untilAborted(fhir.capabilities(), stop);
    metrics.breakerState.set(answer.ok ? 'flowing' : answer.fault.disposition === 'hold' ? 'refusing' : 'outage');
    if (answer.ok) {
      log.info({ software: answer.capabilities.software }, 'The FHIR server answers.');
      for (const sentence of lacking(answer.capabilities, { ...outbox, resources })) log.warn(sentence);
      return;
    }
    if (answer.fault.code === 'not-fhir' || answer.fault.code === 'not-r4')
      throw new FatalError(`${answer.fault.reason} Check FHIR_SERVER.`);
    const { code, reason } = answer.fault;
    const starting = code === 'no-capability-statement';
    log.warn(
      { code },
      starting ? `${reason} Trying again every second.` : `The FHIR server does not answer yet: ${reason}`,
    );
    await pause(RETRY_MS, stop);
  }
}
