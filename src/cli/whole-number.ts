// Numbers as arguments and options of the commands have them.
import { InvalidArgumentError } from 'commander';

/** For an `argParser`: commander says which argument it is, and ends the command. */
export function wholeNumber(text: string): number {
  return upTo(Number.MAX_SAFE_INTEGER, text);
}

/** What is an integer of PostgreSQL there. */
export function postgresInteger(text: string): number {
  return upTo(2 ** 31 - 1, text);
}

function upTo(largest: number, text: string): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= 1 && number <= largest) return number;
  throw new InvalidArgumentError(`It must be a whole number from 1 to ${largest}.`);
}
