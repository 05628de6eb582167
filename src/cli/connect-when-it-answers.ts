// A connection for what may be started together with PostgreSQL: it is waited for, but not for ever where nobody answers.
import type pg from 'pg';
import { FatalError } from '../fatal.ts';
import { pause } from '../pause.ts';
import { type ClientConfig, PostgresClient } from '../postgres/client.ts';
import { errorCode } from '../postgres/errors.ts';
import { diagnose, refusal } from '../replication/server/diagnosis.ts';
import { say } from './output.ts';

const RETRY_MS = 1000;
/** More than a container or a name of a new machine needs. */
const LONGEST_SILENCE_MS = 60_000;
/** Where PostgreSQL itself says it, as while it starts: then it is there, and recovers for as long as it has to. */
const SQLSTATE = /^\d/;

/**
 * Tries once a second, and says each time what it waits for.
 *
 * @throws FatalError on what waiting cannot mend, or after a minute without any answer.
 */
export async function connectWhenItAnswers(
  config: ClientConfig,
  longestSilenceMs = LONGEST_SILENCE_MS,
): Promise<pg.Client> {
  let silentSince = performance.now();
  for (;;) {
    const client = new PostgresClient(config);
    try {
      await client.connect();
      return client;
    } catch (error) {
      const { kind, sentence } = diagnose(error);
      if (kind === 'fatal') throw new FatalError(sentence);
      if (SQLSTATE.test(errorCode(error) ?? '')) silentSince = performance.now();
      if (performance.now() - silentSince > longestSilenceMs) throw new FatalError(`${refusal(error)} ${GIVEN_UP}`);
      say(sentence);
      await pause(RETRY_MS, new AbortController().signal);
    }
  }
}

const GIVEN_UP =
  'That did not change while it was waited for, so nothing was done. Check DB_HOST and DB_PORT, or start PostgreSQL, and try again.';
