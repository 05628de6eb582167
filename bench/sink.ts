// The sink of a benchmark, as the benchmark sees it: started in its own process, told what to do, asked what arrived.
import { type ChildProcess, fork } from 'node:child_process';
import type { SinkCommand, SinkMessage, SinkReport } from './processes/sink.ts';
import { cpuSeconds } from './usage.ts';

type Reached = Extract<SinkMessage, { is: 'reached' }>;

export class Sink {
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
  }

  static async start(): Promise<Sink> {
    const child = fork(new URL('./processes/sink.ts', import.meta.url));
    process.once('exit', () => child.kill());
    const { url } = await heard(child, 'listening');
    return new Sink(child, url);
  }

  configure(settings: { latencyMs?: number; failing?: boolean }): void {
    this.#tell({ do: 'configure', ...settings });
  }

  /** Counts from now on. */
  reset(): void {
    this.#tell({ do: 'reset', expect: 0, mark: 0 });
  }

  /** As `reset`; resolves when `puts` PUTs have arrived. The first `mark` of them are told of by `marked`. */
  expect(puts: number, mark = 0): Promise<Reached> {
    this.#tell({ do: 'reset', expect: puts, mark });
    return heard(this.#child, 'reached');
  }

  /** When the marked number of PUTs has arrived: the time of that. To be asked before they can have. */
  async marked(): Promise<number> {
    return (await heard(this.#child, 'marked')).at;
  }

  async report(): Promise<SinkReport> {
    this.#tell({ do: 'report' });
    return (await heard(this.#child, 'report')).report;
  }

  /** Since its start, in seconds. */
  get cpuSeconds(): number {
    return cpuSeconds(this.#child.pid ?? Number.NaN);
  }

  stop(): void {
    this.#child.disconnect();
  }

  #tell(command: SinkCommand): void {
    this.#child.send(command);
  }
}

function heard<Kind extends SinkMessage['is']>(
  child: ChildProcess,
  kind: Kind,
): Promise<Extract<SinkMessage, { is: Kind }>> {
  return new Promise((resolve, reject) => {
    const onExit = () => reject(new Error('The sink ended.'));
    const onMessage = (message: SinkMessage) => {
      if (message.is !== kind) return;
      child.off('message', onMessage);
      child.off('exit', onExit);
      resolve(message as Extract<SinkMessage, { is: Kind }>);
    };
    child.on('message', onMessage);
    child.once('exit', onExit);
  });
}
