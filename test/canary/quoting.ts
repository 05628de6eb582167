// Makes PostgreSQL quote a patient in whatever it says: triggers, policies and functions that raise with a row in every field of the
// error, as constraints do in DETAIL.
import type pg from 'pg';

export class QuotingDatabase {
  readonly #db: pg.Pool;
  readonly #word: string;

  private constructor(db: pg.Pool, word: string) {
    this.#db = db;
    this.#word = word;
  }

  /** `state`: the SQLSTATE that is raised; a warning goes before it. Once in a database. */
  static async prepare(db: pg.Pool, word: string): Promise<QuotingDatabase> {
    const quoting = new QuotingDatabase(db, word);
    await quoting.#prepare();
    return quoting;
  }

  async #prepare(): Promise<void> {
    const { 0: quote } = (await this.#db.query<{ q: string }>('SELECT quote_literal($1) AS q', [this.#word])).rows;
    await this.#db.query(`
      CREATE FUNCTION public.canary_raise(state text, about text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
      BEGIN
        RAISE WARNING 'warned of %', about USING DETAIL = about, HINT = about;
        RAISE NOTICE 'noticed %', about;
        RAISE EXCEPTION 'Key (name)=(%) is wrong', about USING ERRCODE = state, DETAIL = 'Failing row contains (' || about || ').',
          HINT = about, COLUMN = about, CONSTRAINT = about, DATATYPE = about, TABLE = about, SCHEMA = about;
      END $$;
      CREATE FUNCTION public.canary_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        PERFORM public.canary_raise(TG_ARGV[0], ${quote?.q} || coalesce(to_jsonb(NEW)::text, ''));
        RETURN NEW;
      END $$;
      CREATE FUNCTION public.canary_event_trigger() RETURNS event_trigger LANGUAGE plpgsql AS $$
      BEGIN
        PERFORM public.canary_raise('23514', ${quote?.q});
      END $$;`);
  }

  /** Each write of the table fails so, until `stop`. */
  async onWrite(table: string, state: string): Promise<void> {
    await this.#db.query(`CREATE TRIGGER canary BEFORE INSERT OR UPDATE ON public.${table}
      FOR EACH ROW EXECUTE FUNCTION public.canary_trigger('${state}')`);
  }

  async stopOnWrite(table: string): Promise<void> {
    await this.#db.query(`DROP TRIGGER IF EXISTS canary ON public.${table}`);
  }

  /** Each read of the table by who does not own it fails so, until `stopOnRead`. */
  async onRead(table: string, state: string): Promise<void> {
    const { 0: quote } = (await this.#db.query<{ q: string }>('SELECT quote_literal($1) AS q', [this.#word])).rows;
    await this.#db.query(`ALTER TABLE public.${table} ENABLE ROW LEVEL SECURITY;
      CREATE POLICY canary ON public.${table} USING (public.canary_raise('${state}', ${quote?.q} || ${table}::text))`);
  }

  async stopOnRead(table: string): Promise<void> {
    await this.#db.query(
      `DROP POLICY IF EXISTS canary ON public.${table}; ALTER TABLE public.${table} DISABLE ROW LEVEL SECURITY`,
    );
  }

  /** Each statement of a migration fails so, until `stopOnMigration`. */
  async onMigration(): Promise<void> {
    await this.#db.query(
      'CREATE EVENT TRIGGER canary_ddl ON ddl_command_end EXECUTE FUNCTION public.canary_event_trigger()',
    );
  }

  async stopOnMigration(): Promise<void> {
    await this.#db.query('DROP EVENT TRIGGER IF EXISTS canary_ddl');
  }
}
