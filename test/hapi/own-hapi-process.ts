// HAPI as a process, by the commands `start PORT` and `stop PORT` in the folder that HAPI_COMMANDS names.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface HapiCommands {
  /**
   * Starts HAPI on 127.0.0.1 with these variables beside ours, named as the image hapiproject/hapi takes them, and resolves
   * with its process id once it answers.
   */
  start(port: number, environment: Readonly<Record<string, string>>): Promise<number>;
  /** Does nothing when none runs. */
  stop(port: number): Promise<void>;
}

/** Null when HAPI_COMMANDS names no folder. */
export function hapiCommands(): HapiCommands | null {
  const folder = process.env.HAPI_COMMANDS;
  if (!folder) return null;
  return {
    async start(port, environment) {
      const { stdout } = await run(join(folder, 'start'), [String(port)], { env: { ...process.env, ...environment } });
      const pid = /\bpid (\d+)/.exec(stdout)?.[1];
      if (pid === undefined) throw new Error(`${folder}/start did not say the process id of HAPI: ${stdout}`);
      return Number(pid);
    },
    async stop(port) {
      await run(join(folder, 'stop'), [String(port)]);
    },
  };
}
