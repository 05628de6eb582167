// Who may read the status page, where the configuration says so.
import { FatalError } from '../fatal.ts';
import type { Config } from './environment.ts';

/** Null where everybody may; throws a FatalError where one of the two variables is missing. */
export function statusLogin({
  STATUS_USER: user,
  STATUS_PASSWORD: password,
}: Pick<Config, 'STATUS_USER' | 'STATUS_PASSWORD'>) {
  if (user !== undefined && password !== undefined) return { user, password };
  if (user === undefined && password === undefined) return null;
  const [given, missing] = user === undefined ? ['STATUS_PASSWORD', 'STATUS_USER'] : ['STATUS_USER', 'STATUS_PASSWORD'];
  throw new FatalError(`${given} is set, and ${missing} is not: set both, or neither.`);
}
