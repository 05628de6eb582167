// Looks at the frames of a replication connection before pg reads them: what cannot be one is an error of this connection alone.
import type { Duplex } from 'node:stream';
import { UnreadableStream } from './unreadable-stream.ts';

/** Of a frame: its type and the length of what follows, itself included. https://www.postgresql.org/docs/current/protocol-message-formats.html */
const HEADER_BYTES = 5;
/** PostgreSQL's own limit for a row: MaxAllocSize. */
const MOST_BYTES = 0x3fff_ffff;
/** Errors and notices are sentences. */
const MOST_TEXT_BYTES = 1024 * 1024;
const [ERROR, NOTICE] = [0x45, 0x4e];
/** The backend's messages that may come once the stream has been asked for: CopyBoth, CopyData, CopyDone, CommandComplete … */
const EXPECTED = new Set([...'WdcCZENSA'].map((type) => type.charCodeAt(0)));

/** A frame that was begun comes whole in this time, or at this rate. */
const WHOLE_WITHIN_MS = 10_000;
const LEAST_BYTES_PER_MS = 64;
const LOOK_INTERVAL_MS = 1000;

type Listener = (chunk: Buffer) => void;

/**
 * pg reads whatever has the form of a frame. What its parser throws would end the process, an error message without its
 * end makes it read for ever, and behind a length that lies it waits, while the server sees our status updates and all
 * is well. So: what does not fit is told to `onFault`, once, and nothing more is read. From the next byte on, which must be
 * the first of a frame.
 */
export function guardFrames(stream: Duplex, onFault: (error: Error) => void): void {
  const [parse, ...others] = stream.listeners('data') as Listener[];
  if (!parse || others.length > 0) throw new TypeError('pg reads its connection in another way than before.');
  const frames = new Frames();
  const fail = (error: Error) => {
    clearInterval(timer);
    stream.removeListener('data', read);
    // Whatever comes is let go of: nobody waits for room.
    stream.resume();
    onFault(error);
  };
  const read: Listener = (chunk) => {
    try {
      frames.read(chunk);
      parse(chunk);
    } catch (error) {
      fail(new UnreadableStream(error));
    }
  };
  const timer = setInterval(() => {
    if (frames.isStuck(stream.isPaused())) fail(new UnreadableStream(new Error('Half of a message.')));
  }, LOOK_INTERVAL_MS).unref();
  stream.removeListener('data', parse);
  stream.on('data', read);
  stream.once('close', () => clearInterval(timer));
}

/** Where in the frames the bytes stand. */
class Frames {
  #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  /** Of the frame that was begun: bytes that have not come. */
  #missing = 0;
  /** The content of an error or a notice. */
  #text: Buffer[] | null = null;
  #come = 0;
  #waitedMs = 0;

  read(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#headerBytes < HEADER_BYTES) {
        const taken = chunk.copy(this.#header, this.#headerBytes, at, at + HEADER_BYTES - this.#headerBytes);
        this.#headerBytes += taken;
        this.#come += taken;
        at += taken;
        if (this.#headerBytes === HEADER_BYTES) this.#begin();
      } else {
        const taken = Math.min(this.#missing, chunk.length - at);
        this.#text?.push(Buffer.from(chunk.subarray(at, at + taken)));
        this.#missing -= taken;
        this.#come += taken;
        at += taken;
      }
      if (this.#headerBytes === HEADER_BYTES && this.#missing === 0) this.#end();
    }
  }

  /** Asked once a second. Time counts only while we read. */
  isStuck(isPaused: boolean): boolean {
    if (this.#headerBytes === 0 || isPaused) return false;
    this.#waitedMs += LOOK_INTERVAL_MS;
    return this.#waitedMs > WHOLE_WITHIN_MS && this.#come < this.#waitedMs * LEAST_BYTES_PER_MS;
  }

  #begin(): void {
    const [type = 0] = this.#header;
    const length = this.#header.readUInt32BE(1);
    if (!EXPECTED.has(type)) throw new Error('A frame of an unknown type.');
    this.#text = type === ERROR || type === NOTICE ? [] : null;
    if (length < HEADER_BYTES - 1 || length > (this.#text ? MOST_TEXT_BYTES : MOST_BYTES))
      throw new Error('A frame of a length that none has.');
    this.#missing = length - HEADER_BYTES + 1;
  }

  #end(): void {
    if (this.#text && !hasEnd(Buffer.concat(this.#text))) throw new Error('A message without its end.');
    this.#headerBytes = 0;
    this.#text = null;
    this.#come = 0;
    this.#waitedMs = 0;
  }
}

/** Fields, each a type and a text that ends with a zero; and a zero behind the last. */
function hasEnd(fields: Buffer): boolean {
  for (let at = 0; at < fields.length; ) {
    if (fields[at] === 0) return at === fields.length - 1;
    const end = fields.indexOf(0, at + 1);
    if (end === -1) return false;
    at = end + 1;
  }
  return false;
}
