// The error that ends the process: only an operator can mend what it says.

/** Its message is a sentence that says what is wrong and what to do; the process prints it and exits with status 1. */
export class FatalError extends Error {
  override readonly name = 'FatalError';
}
