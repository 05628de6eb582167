// A PostgreSQL database of HAPI's own, which can be taken away from it.

import { freePort } from '../../demo/ports.ts';
import { createDatabase } from '../support/database.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { hapiCommands } from './own-hapi-process.ts';

export interface HapiDatabase {
  readonly name: string;
  readonly user: string;
  readonly password: string;
  /** Of the proxy before it, on this machine. */
  readonly port: number;
  /** Connections end, and new ones are closed at once, until `comeBack`. */
  goAway(): Promise<void>;
  comeBack(): void;
  drop(): Promise<void>;
}

export async function createHapiDatabase(): Promise<HapiDatabase> {
  const database = await createDatabase('empty');
  const { host, port, user, password } = database.config;
  // A container comes from another address of this machine.
  const proxy = await TcpProxy.start(host, port, hapiCommands() === null ? '0.0.0.0' : '127.0.0.1');
  return {
    name: database.name,
    user,
    password,
    port: proxy.port,
    async goAway() {
      proxy.retarget('127.0.0.1', await freePort());
      proxy.cut();
    },
    comeBack: () => proxy.retarget(host, port),
    async drop() {
      await proxy.stop();
      await database.drop();
    },
  };
}
