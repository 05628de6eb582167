// All connectors of one outbox, in this process: one for each shard.
import { expect } from 'vitest';
import type { Shard } from '../../src/shard.ts';
import { type ConnectorOptions, type DatabaseTarget, type RunningConnector, startConnector } from './connector.ts';

const SOON = { timeout: 20_000 };

/** Whose a patient is: as the row filters and filterOf in src/shard.ts have to say it. */
export function holds({ index, count }: Shard, patientId: number | null): boolean {
  return Math.abs((patientId ?? 0) % count) === index;
}

export class Shards {
  readonly #database: DatabaseTarget;
  readonly #fhirUrl: string;
  #running: readonly RunningConnector[] = [];

  constructor(database: DatabaseTarget, fhirUrl: string) {
    this.#database = database;
    this.#fhirUrl = fhirUrl;
  }

  get running(): readonly RunningConnector[] {
    return this.#running;
  }

  /** Resolves when each of them streams. */
  async start(count: number, options: ConnectorOptions = {}): Promise<void> {
    const shards: Shard[] = Array.from({ length: count }, (_, index) => ({ index, count }));
    this.#running = shards.map((shard) => startConnector(this.#database, this.#fhirUrl, { ...options, shard }));
    for (const { metrics } of this.#running)
      await expect.poll(() => metrics.connectorState.get(), SOON).toBe('streaming');
  }

  async stop(): Promise<void> {
    await Promise.all(this.#running.map((connector) => connector.stop()));
  }

  /** A counter's value, of all together. */
  async total(counter: 'failed' | 'foreignEdits' | 'skippedRows' | 'superseded'): Promise<number> {
    const values = await Promise.all(this.#running.map(({ metrics }) => metrics[counter].get()));
    return values.reduce((sum, { values: [first] }) => sum + (first?.value ?? 0), 0);
  }
}
