// How long a test waits for what takes milliseconds when it works: generous, because the machine is shared.
export const PATIENCE = { timeout: 60_000 };
