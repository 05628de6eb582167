// Whatever the environment holds.
import { it } from 'vitest';
import { briefly, PATIENCE } from './brief.ts';
import { environment } from './configuration.ts';

it(
  'whatever the environment holds is a configuration within bounds, or one error that names variables and repeats no value',
  PATIENCE,
  () => briefly(environment, 1500),
);
