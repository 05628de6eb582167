// The replication stream of a real PostgreSQL, changed on its way.
import { inject, it } from 'vitest';
import { briefly, PATIENCE } from './brief.ts';
import { frames } from './frames.ts';

it(
  'whatever happens to the frames of the stream on their way, nothing unfinished is acknowledged, and all arrives afterwards',
  PATIENCE,
  () => briefly(frames(inject('postgres')), 12),
);
