// How a connector of a test is doing, in this process or as a command: whether it streams, what it counted, what it logged.
import { expect, vi } from 'vitest';
import type { ConnectorProcess, LogLine, RunningConnector } from './connector.ts';
import { PATIENCE } from './patience.ts';

interface Logging {
  readonly log: readonly LogLine[];
}

/** Until it streams; a command until it has said so. */
export async function streaming(connector: RunningConnector | ConnectorProcess): Promise<void> {
  // Not expect.poll, which only a test may call: this is for hooks as well.
  if ('metrics' in connector)
    await vi.waitFor(() => expect(connector.metrics.connectorState.get()).toBe('streaming'), PATIENCE);
  else await vi.waitUntil(() => connector.log.some(({ msg }) => msg === 'Streaming.'), PATIENCE);
}

/** Of a counter or a gauge without labels. */
export async function figureOf(metric: {
  get(): Promise<{ readonly values: readonly { readonly value: number }[] }>;
}): Promise<number | undefined> {
  return (await metric.get()).values[0]?.value;
}

export function catchUps({ metrics }: RunningConnector): Promise<number | undefined> {
  return figureOf(metrics.catchUps);
}

/** Where a command that runs answers; it has said so when it started. */
export function addressOf({ log }: Logging): string {
  return `http://127.0.0.1:${log.find(({ msg }) => msg === 'Starting.')?.metricsPort}`;
}

/** What a command that runs tells of this metric, which is named with its labels. */
export async function metricOf(connector: Logging, name: string): Promise<number> {
  const text = await (await fetch(`${addressOf(connector)}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1));
}

export function linesWith({ log }: Logging, text: string): LogLine[] {
  return log.filter(({ msg }) => msg.includes(text));
}
