// All mutants, the bugs that the tests have to find.
import { ACCESS } from './access.ts';
import { ACKNOWLEDGING } from './acknowledging.ts';
import { IDENTITIES } from './identity.ts';
import { MAPPING } from './mapping.ts';
import type { Mutant } from './mutant.ts';
import { ORDERING } from './ordering.ts';
import { PRIVACY } from './privacy.ts';
import { SHARDED } from './shards.ts';

export const MUTANTS: readonly Mutant[] = [
  ...ACKNOWLEDGING,
  ...ORDERING,
  ...IDENTITIES,
  ...MAPPING,
  ...SHARDED,
  ...ACCESS,
  ...PRIVACY,
];
