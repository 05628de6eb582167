// Loaded before the connector (node --import): ends it with the demonstration that started it, even after kill -9.

import type { Socket } from 'node:net';

// The other end of this pipe is held by the demonstration alone. Nothing needs saving: the database is gone by then too.
process.stdin.resume().on('end', () => process.exit(1));
(process.stdin as unknown as Socket).unref();
