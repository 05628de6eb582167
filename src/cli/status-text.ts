// What `status` tells people: one line a matter, with a sign for how it stands.
import { LEAST_HEADROOM, MOST_COUNTED } from '../metrics/facts.ts';
import { kindOfTable } from '../outbox/delivery/kinds.ts';
import { counted } from './output.ts';
import type { Status } from './read-status.ts';

/** ✓ as it should be; ! look at it today; ✗ nothing is read or sent, or soon the slot is given up. */
type Sign = '✓' | '!' | '✗';

export interface Line {
  readonly sign: Sign;
  readonly matter: string;
  readonly text: string;
}

/** `lateAfter`: age of the oldest waiting change, in seconds, from which it is late. */
export function statusLines(status: Status, lateAfter: number): Line[] {
  return [
    slotLine(status),
    triggersLine(status),
    outboxLine(status, lateAfter),
    deliveredLine(status),
    ...failingLines(status),
    deadLettersLine(status),
    fhirLine(status),
    ...verificationLines(status),
  ];
}

export function textOf(lines: readonly Line[]): string {
  const width = Math.max(...lines.map(({ matter }) => matter.length));
  return `${lines.map(({ sign, matter, text }) => `${sign} ${matter.padEnd(width)}  ${text}`).join('\n')}\n`;
}

function slotLine({ slot: { name, state, active, retainedBytes, safeWalBytes } }: Status): Line {
  const matter = 'Slot';
  if (state === 'missing' && active)
    return {
      sign: '✗',
      matter,
      text: `PostgreSQL makes ${name}, for which transactions that are open now have to end: doctor names one that takes long`,
    };
  if (state === 'missing' || state === 'lost')
    return { sign: '✗', matter, text: `${name} is ${state}: a connector makes it anew and delivers first what waits` };
  const left =
    safeWalBytes === null ? 'without a limit' : `${bytes(Math.max(0, safeWalBytes))} more before it is given up`;
  const kept = `keeps ${bytes(retainedBytes)} of WAL, ${left}`;
  if (!active) return { sign: '✗', matter, text: `no connector reads ${name}; it ${kept}` };
  const pressed =
    state === 'unreserved' || (safeWalBytes !== null && safeWalBytes < LEAST_HEADROOM * (safeWalBytes + retainedBytes));
  return { sign: pressed ? '✗' : '✓', matter, text: `a connector reads ${name}; it ${kept} (${state})` };
}

function triggersLine({ triggersOff }: Status): Line {
  const matter = 'Triggers';
  if (triggersOff === 0) return { sign: '✓', matter, text: 'all are there and enabled' };
  const text = `${triggersOff} missing or disabled: what they would write is not seen; doctor names them`;
  return { sign: '✗', matter, text };
}

function untold(matter: string): Line {
  const text = 'PostgreSQL did not tell in time: a lock, or very much to count (docs/runbook.md, DatabaseSilent)';
  return { sign: '✗', matter, text };
}

function outboxLine({ outbox }: Status, lateAfter: number): Line {
  const matter = 'Outbox';
  if (outbox === null) return untold(matter);
  const { unprocessed, oldestSeconds } = outbox;
  if (unprocessed === 0) return { sign: '✓', matter, text: 'nothing waits' };
  const text = `${counted(unprocessed, 'row')} ${unprocessed === 1 ? 'waits' : 'wait'}, the oldest for ${age(oldestSeconds)}`;
  return { sign: oldestSeconds > lateAfter ? '!' : '✓', matter, text };
}

function deliveredLine({ deliveries }: Status): Line {
  const matter = 'Delivered';
  if (deliveries === null) return untold(matter);
  const { last, lastMinute } = deliveries;
  if (last === null) return { sign: '✓', matter, text: 'nothing yet' };
  const version = last.version === null ? '' : ` version ${last.version}`;
  const number = lastMinute >= MOST_COUNTED ? `at least ${MOST_COUNTED} events` : counted(lastMinute, 'event');
  return {
    sign: '✓',
    matter,
    text: `${number} finished in the last minute; the newest ${age(last.secondsAgo)} ago: transaction ${last.txid} → ${kindOfTable(last.table)?.type ?? last.table}/${last.fhirId}${version}`,
  };
}

function failingLines({ deliveries }: Status): Line[] {
  return (deliveries?.failing ?? []).map(({ reason, rows }) => ({
    sign: '!',
    matter: 'Failing',
    text: `${counted(rows, 'row')} after a failed try: ${reason}`,
  }));
}

function deadLettersLine({ deadLetters }: Status): Line {
  const matter = 'Dead letters';
  if (deadLetters === null) return untold(matter);
  const { unresolved, oldestSeconds } = deadLetters;
  if (unresolved === 0) return { sign: '✓', matter, text: 'none' };
  return {
    sign: '!',
    matter,
    text: `${unresolved} unresolved, the oldest for ${age(oldestSeconds)}: npm run connector -- dlq list`,
  };
}

function fhirLine({ fhir: { answers, software, fault } }: Status): Line {
  const matter = 'FHIR server';
  if (answers) return { sign: '✓', matter, text: `${software ?? 'it'} answers` };
  return { sign: '✗', matter, text: fault ?? 'it does not answer' };
}

function verificationLines({ verifications, at }: Status): Line[] {
  if (verifications === null) return [untold('Verified')];
  return verifications.map(({ scope, finishedAt, drift }) => {
    const found = Object.entries(drift).filter(([, number]) => number > 0);
    const when = `${age((at.getTime() - finishedAt.getTime()) / 1000)} ago, ${scope === 'all' ? 'all patients' : 'a sample'}`;
    return found.length === 0
      ? { sign: '✓', matter: 'Verified', text: `${when}: no drift in what was compared` }
      : {
          sign: '!',
          matter: 'Verified',
          text: `${when}: ${found.map(([kind, number]) => `${number} ${kind}`).join(', ')}`,
        };
  });
}

const UNITS = [
  { unit: 'd', seconds: 86_400 },
  { unit: 'h', seconds: 3600 },
  { unit: 'min', seconds: 60 },
  { unit: 's', seconds: 1 },
] as const;

/** In the largest unit of which there are two, for nobody needs more. */
function age(seconds: number): string {
  const { unit, seconds: size } = UNITS.find(({ seconds: size }) => seconds >= 2 * size) ?? UNITS[3];
  return `${Math.max(0, Math.round(seconds / size))} ${unit}`;
}

/** https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-DBOBJECT says MB and GB for powers of 1024, too. */
function bytes(number: number): string {
  const [unit, size] = number >= 10 * 1024 ** 3 ? ['GB', 1024 ** 3] : ['MB', 1024 ** 2];
  return `${Math.round(number / Number(size))} ${unit}`;
}
