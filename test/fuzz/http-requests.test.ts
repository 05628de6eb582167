// Whatever is asked of the connector's own HTTP server.
import { it } from 'vitest';
import { briefly, PATIENCE } from './brief.ts';
import { httpRequests } from './http-requests.ts';

it('whatever is asked of the HTTP server, it repeats nothing of it and answers the next one', PATIENCE, () =>
  briefly(httpRequests, 60),
);
