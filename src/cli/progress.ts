// How far a long command has come: a bar with the time left on a terminal, a line now and then anywhere else. On stderr,
// so that stdout holds the result alone.
import { SingleBar } from 'cli-progress';

export interface Progress {
  /** `total` null: unknown. `detail` stands behind the bar. */
  update(step: string, done: number, total: number | null, detail?: string): void;
  /** What it waits for, until null; a line of its own where there is no terminal. */
  waiting(sentence: string | null): void;
  end(): void;
}

const LINE_EVERY_MS = 5000;

export function createProgress(stream: NodeJS.WriteStream = process.stderr): Progress {
  return stream.isTTY ? new Bar(stream) : new Lines(stream);
}

class Bar implements Progress {
  readonly #stream: NodeJS.WriteStream;
  #step: string | null = null;
  #bar: SingleBar | null = null;
  #detail = '';
  #wait = '';

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  update(step: string, done: number, total: number | null, detail = ''): void {
    this.#detail = detail;
    if (step !== this.#step) {
      this.end();
      this.#step = step;
      this.#bar = new SingleBar({
        format: total === null ? '{step} {note}' : '{step} {bar} {percentage} %, {eta_formatted} left{note}',
        stream: this.#stream,
        hideCursor: true,
        clearOnComplete: true,
        // A signal ends the command in its own way.
        gracefulExit: false,
        // Updates, of which some come without progress.
        etaBuffer: 100,
        fps: 5,
      });
      this.#bar.start(total ?? 1, 0, { step, note: this.#note() });
    }
    if (total !== null) this.#bar?.setTotal(Math.max(total, done, 1));
    this.#bar?.update(total === null ? 0 : done, { note: this.#note() });
  }

  waiting(sentence: string | null): void {
    this.#wait = sentence ?? '';
    this.#bar?.update({ note: this.#note() });
  }

  end(): void {
    this.#bar?.stop();
    this.#bar = null;
  }

  #note(): string {
    return [this.#detail, this.#wait].flatMap((part) => (part === '' ? [] : [`  ${part}`])).join('');
  }
}

class Lines implements Progress {
  readonly #stream: NodeJS.WritableStream;
  #step: string | null = null;
  #saidAt = Number.NEGATIVE_INFINITY;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
  }

  update(step: string, done: number, total: number | null, detail = ''): void {
    const now = performance.now();
    if (step === this.#step && now - this.#saidAt < LINE_EVERY_MS) return;
    this.#step = step;
    this.#saidAt = now;
    const of = total === null ? '' : ` ${done} of ${total}`;
    this.#say(`${step}${of}${detail === '' ? '' : `, ${detail}`}`);
  }

  waiting(sentence: string | null): void {
    if (sentence !== null) this.#say(sentence);
  }

  end(): void {}

  #say(line: string): void {
    this.#stream.write(`${line}\n`);
  }
}
