// A login for each role on a test database, with that role's rights and none beside.
import type pg from 'pg';
import type { TestDatabase } from './database.ts';

export const ROLES = { application: 'fhir_app', connector: 'fhir_connector', operator: 'fhir_operator' } as const;
export type Kind = keyof typeof ROLES;

export interface Logins {
  /** What a client connects with. */
  as(kind: Kind): pg.ClientConfig & { readonly user: string; readonly password: string };
  drop(): Promise<void>;
}

const PASSWORD = 'of-a-test';

export async function createLogins({ name, config, pool }: TestDatabase): Promise<Logins> {
  const user = (kind: Kind) => `${name}_${kind}`;
  const kinds = Object.keys(ROLES) as Kind[];
  for (const kind of kinds) {
    const attribute = kind === 'connector' ? 'REPLICATION' : '';
    await pool.query(`CREATE ROLE ${user(kind)} LOGIN ${attribute} PASSWORD '${PASSWORD}' IN ROLE ${ROLES[kind]}`);
  }
  return {
    as: (kind) => ({ ...config, user: user(kind), password: PASSWORD }),
    async drop() {
      for (const kind of kinds) await pool.query(`DROP ROLE ${user(kind)}`);
    },
  };
}
