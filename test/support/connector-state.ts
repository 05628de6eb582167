// How a connector of a test is doing: whether it streams, what it counted, what it logged.
import { expect } from 'vitest';
import type { LogLine, RunningConnector } from './connector.ts';
import { PATIENCE } from './patience.ts';

export async function streaming(connector: RunningConnector): Promise<void> {
  await expect.poll(() => connector.metrics.connectorState.get(), PATIENCE).toBe('streaming');
}

export async function catchUps(connector: RunningConnector): Promise<number | undefined> {
  return (await connector.metrics.catchUps.get()).values[0]?.value;
}

export function linesWith(connector: { readonly log: readonly LogLine[] }, text: string): LogLine[] {
  return connector.log.filter(({ msg }) => msg.includes(text));
}
