// Asking the person at the terminal before something that cannot be taken back.
import { createInterface } from 'node:readline/promises';
import { FatalError } from '../fatal.ts';

interface Terminal {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

/**
 * Returns when the person answers yes. The question goes to stderr: stdout is for the result.
 *
 * @throws FatalError when the answer is anything else, or when nobody can be asked.
 */
export async function confirm(question: string, { stdin, stderr }: Terminal = process): Promise<void> {
  if (!stdin.isTTY || !stderr.isTTY)
    throw new FatalError(`${question} Nobody can be asked here, so nothing was done: add --yes to answer yes.`);
  const terminal = createInterface({ input: stdin, output: stderr });
  // Ctrl-C and Ctrl-D close it, which would leave the question unanswered for ever.
  const closed = new Promise<string>((resolve) => terminal.once('close', () => resolve('')));
  const answer = await Promise.race([terminal.question(`${question} [y/N] `), closed]);
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new FatalError('Nothing was done.');
}
