// Waits for something of a connector that meets hostile input, which must not end meanwhile.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import type { RunningConnector } from '../support/connector.ts';

export async function until(
  connector: RunningConnector,
  patienceMs: number,
  what: string,
  isSo: () => boolean | Promise<boolean>,
): Promise<void> {
  const ended = connector.done.then(() => 'ended' as const);
  const deadline = performance.now() + patienceMs;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline, `Not within ${patienceMs} ms: ${what}. ${lastWords(connector)}`);
    assert.notEqual(await Promise.race([ended, pause(5)]), 'ended');
  }
}

/** Its last warnings and errors. */
function lastWords({ log }: RunningConnector): string {
  return JSON.stringify(log.filter(({ level }) => Number(level) >= 40).slice(-6));
}
