// How a connector of a test is doing: whether it streams, what it counted, what it logged.
import { expect, vi } from 'vitest';
import type { LogLine, RunningConnector } from './connector.ts';
import { PATIENCE } from './patience.ts';

export async function streaming(connector: RunningConnector): Promise<void> {
  // Not expect.poll, which only a test may call: this is for hooks as well.
  await vi.waitFor(() => expect(connector.metrics.connectorState.get()).toBe('streaming'), PATIENCE);
}

export async function catchUps(connector: RunningConnector): Promise<number | undefined> {
  return (await connector.metrics.catchUps.get()).values[0]?.value;
}

export function linesWith(connector: { readonly log: readonly LogLine[] }, text: string): LogLine[] {
  return connector.log.filter(({ msg }) => msg.includes(text));
}
