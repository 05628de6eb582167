// Loaded into a connector by --import: at SIGUSR2 an error that nobody catches, as a library or a bug would throw it.
import pg from 'pg';

const word = process.env.CANARY_WORD ?? '';

/** As the server sends one. */
function databaseError(): Error {
  const error = new pg.DatabaseError(`duplicate key value violates a constraint (${word})`, 1, 'error');
  const row = `Failing row contains (7, ${word}).`;
  return Object.assign(error, { code: '23505', detail: row, hint: row, where: row, table: word, internalQuery: row });
}

const PLANTED: Readonly<Record<string, () => unknown>> = {
  exception: () => {
    throw databaseError();
  },
  rejection: () =>
    void Promise.reject(new TypeError(`${word} is not a function\n    at ${word} (file:///${word}.ts:1:1)`)),
  'text alone': () => {
    throw `This is about ${word}.`;
  },
  'several with causes': () => {
    const cause = Object.assign(new RangeError(word), { name: word, code: word });
    throw new AggregateError([databaseError(), cause], word, { cause });
  },
  'error event': () => process.emit('error' as 'exit', databaseError() as unknown as number),
  'rejection of nothing': () => void Promise.reject({ name: word, message: word, [word]: word }),
};

process.on('SIGUSR2', () => {
  process.emitWarning(`${word} leaks`, { type: 'MaxListenersExceededWarning', code: 'CANARY', detail: word });
  process.emitWarning(databaseError());
  // Warnings are printed in the next turn.
  setTimeout(() => PLANTED[process.env.CANARY_ERROR ?? '']?.(), 50);
});
