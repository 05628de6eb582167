// Reading resources for a comparison: again when the server stumbles, and not at all when it does not work.
import { FatalError } from '../fatal.ts';
import type { FhirClient } from '../fhir/client/fhir-client.ts';
import type { Fault } from '../fhir/faults/fault.ts';
import type { Json } from '../fhir/model/json.ts';
import { pause } from '../pause.ts';

/** `code`: of the fault, when this one resource cannot be read and the server works otherwise. */
export type Reading =
  | { readonly kind: 'found'; readonly resource: Json }
  | { readonly kind: 'gone' }
  | { readonly kind: 'unreadable'; readonly code: string };

const TRIES = 5;
const FIRST_WAIT_MS = 250;

/** Throws a FatalError when the server refuses us or does not work. */
export async function readResource(fhir: FhirClient, type: string, id: string, signal: AbortSignal): Promise<Reading> {
  const answer = await patiently(() => fhir.read(type, id), signal);
  if (answer.ok) return { kind: 'found', resource: answer.resource };
  if (answer.fault.disposition === 'gone') return { kind: 'gone' };
  const broken = await fhir.probe();
  if (broken) throw doesNotWork(broken);
  return { kind: 'unreadable', code: answer.fault.code };
}

/** Repeats what another moment may mend, with growing waits or those that the server asks for. */
export async function patiently<T extends { ok: true } | { ok: false; fault: Fault }>(
  ask: () => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    const answer = await ask();
    if (answer.ok || answer.fault.disposition === 'gone' || tries === TRIES) return answer;
    if (answer.fault.disposition === 'hold') throw doesNotWork(answer.fault);
    await pause(Math.max(answer.fault.retryAfterMs ?? 0, FIRST_WAIT_MS * 2 ** tries), signal);
  }
}

export function doesNotWork(fault: Fault): FatalError {
  return new FatalError(`The FHIR server could not be compared with: ${fault.reason}`);
}
