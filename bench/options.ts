// What the benchmarks take from the command line: what is wrong with it ends them with a sentence and status 2.

export function wholeNumber(option: string, text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1) refuse(`--${option} must be a whole number, 1 at least.`);
  return number;
}

export function refuse(sentence: string): never {
  console.error(sentence);
  process.exit(2);
}
