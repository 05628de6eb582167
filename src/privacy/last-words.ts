// What is said of an error that nobody caught, and of Node's warnings: class, code and place. Never a message, for it may quote a
// patient: Node itself would print an error with all its properties, and PostgreSQL's `detail` has whole rows.
import { writeSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FatalError } from '../fatal.ts';

const STDERR = 2;
const PROJECT = `${import.meta.dirname}/../..`;
/** Of classes and functions; a name that was made at run time may be anything. */
const NAME = /^[A-Za-z_$][\w$]{0,60}$/;
const CODE = /^[A-Z0-9_]{1,50}$/;
/** https://v8.dev/docs/stack-trace-api , with or without a function's name. */
const FRAME = /^ {4}at (?:.* \()?((?:file:\/\/|node:|\/)[^()\s]+):(\d+):(\d+)\)?$/;
const MOST_FRAMES = 10;
const MOST_CAUSES = 5;
/** Node's own sentence on NODE_EXTRA_CA_CERTS, which tells a path and what OpenSSL says of that file. */
const CA_CERTIFICATES = /^Ignoring extra certs from `/;

/** From now on the process ends with these words where it would end with Node's, and with the same status. */
export function keepMessagesOut(): void {
  process.on('uncaughtException', (error) => {
    writeSync(STDERR, lastWords(error));
    process.exit(1);
  });
  // Node's own listener prints the message, and of an error all that belongs to it.
  process.removeAllListeners('warning');
  process.on('warning', (warning) => {
    if (process.env.NODE_NO_WARNINGS === '1') return;
    const { message } = warning;
    writeSync(STDERR, CA_CERTIFICATES.test(message) ? `${message}\n` : `Node warns of ${described(warning)}.\n`);
  });
}

/** Ends with a line break. */
export function lastWords(error: unknown): string {
  if (error instanceof FatalError) return `${error.message}\n`;
  const lines = [
    'An error that nobody foresaw ended it. Please report it with these lines; what it says is left out, for it may be about a patient.',
  ];
  let cause: unknown = error;
  for (let depth = 0; depth < MOST_CAUSES && cause !== undefined; depth += 1) {
    lines.push(
      `${depth === 0 ? '' : 'caused by '}${described(cause)}`,
      ...framesOf(cause).map((frame) => `    at ${frame}`),
    );
    cause = cause instanceof AggregateError ? cause.errors[0] : cause instanceof Error ? cause.cause : undefined;
  }
  return `${lines.join('\n')}\n`;
}

function described(error: unknown): string {
  if (!(error instanceof Error)) return `what is no error but a value of the type ${typeof error}`;
  const { code } = error as { code?: unknown };
  // Not its `name`, which is a property like any other.
  const name = error.constructor.name;
  return `${NAME.test(name) ? name : 'Error'}${typeof code === 'string' && CODE.test(code) ? ` ${code}` : ''}`;
}

function framesOf(error: unknown): string[] {
  if (!(error instanceof Error) || typeof error.stack !== 'string') return [];
  const { stack, message } = error;
  // The stack begins with the message, which may have lines that look like frames.
  const at = stack.indexOf(message);
  if (at < 0) return [];
  const lines = stack
    .slice(at + message.length)
    .split('\n')
    .slice(1);
  return lines
    .flatMap((line) => {
      const [, file = '', row, column] = FRAME.exec(line) ?? [];
      return file === '' ? [] : [`${fileNameOf(file)}:${row}:${column}`];
    })
    .slice(0, MOST_FRAMES);
}

function fileNameOf(file: string): string {
  return file.startsWith('node:') ? file : relative(PROJECT, file.startsWith('file:') ? fileURLToPath(file) : file);
}
