// The world of the canary: a database, an echoing FHIR server and a collector of traces, and all that a connector or a command says.
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { expect, vi } from 'vitest';
import { type CommandResult, runCommand } from '../support/command.ts';
import {
  type ConnectorProcess,
  connectorEnvironment,
  type DatabaseTarget,
  spawnConnector,
} from '../support/connector.ts';
import { streaming } from '../support/connector-state.ts';
import { createDatabase } from '../support/database.ts';
import { allProcessed } from '../support/outbox.ts';
import { Collector } from '../support/trace-collector.ts';
import { EchoingServer } from './echoing-server.ts';
import { Marks } from './marks.ts';
import { type Patient, Patients } from './patients.ts';

export const PATIENCE = { timeout: 60_000, interval: 50 };
const ROUTES = ['/', '/status.json', '/metrics', '/healthz', '/readyz'];
const LOOK_EVERY_MS = 250;

interface Leaking {
  readonly output: string;
  readonly leaks: ReturnType<Marks['leaksIn']>;
}

export class CanaryWorld {
  readonly marks: Marks;
  readonly fhir: EchoingServer;
  readonly collector: Collector;
  readonly db: pg.Pool;
  readonly patients: Patients;
  readonly target: DatabaseTarget;
  readonly roles: { connector: string; operator: string };
  /** What was said, each text once. */
  readonly #said = new Map<string, Set<string>>();
  readonly #connectors: ConnectorProcess[] = [];
  #drop = async () => {};

  private constructor(marks: Marks, target: DatabaseTarget, fhir: EchoingServer, collector: Collector) {
    this.marks = marks;
    this.fhir = fhir;
    this.collector = collector;
    this.target = target;
    this.roles = { connector: `${target.name}_connector`, operator: `${target.name}_operator` };
    this.db = new pg.Pool({ ...target.config, max: 8 });
    // Who stops the server breaks idle connections as well.
    this.db.on('error', () => undefined);
    this.patients = new Patients(this.db, marks);
  }

  /** In a database of its own, which goes with it. */
  static async open(): Promise<CanaryWorld> {
    const database = await createDatabase('empty');
    const world = await CanaryWorld.create(database);
    world.#drop = () => database.drop();
    return world;
  }

  /** In an empty database, which is `migrate`d here. */
  static async create(target: DatabaseTarget): Promise<CanaryWorld> {
    const marks = new Marks();
    const world = new CanaryWorld(
      marks,
      target,
      await EchoingServer.start(marks.word('server')),
      await Collector.start(),
    );
    await world.migrate();
    await world.db.query(`
      CREATE ROLE ${world.roles.connector} LOGIN REPLICATION PASSWORD 'connector' IN ROLE fhir_connector;
      CREATE ROLE ${world.roles.operator} LOGIN PASSWORD 'operator' IN ROLE fhir_operator`);
    return world;
  }

  async close(): Promise<void> {
    for (const { child } of this.#connectors) child.kill('SIGKILL');
    await Promise.all(this.#connectors.map(({ exited }) => exited));
    await this.collector.stop();
    await this.fhir.stop();
    await this.db.query(`DROP OWNED BY ${this.roles.connector}, ${this.roles.operator};
      DROP ROLE ${this.roles.connector}, ${this.roles.operator}`);
    await this.db.end();
    await this.#drop();
  }

  /** With the role that it has in production, at the level `trace`, and all that can be watched of it watched. */
  start(environment: Readonly<Record<string, string>> = {}): ConnectorProcess {
    const started = spawnConnector({
      ...this.#environment(this.roles.connector, 'connector'),
      LOG_LEVEL: 'trace',
      FHIR_RESOURCES: 'Patient,Encounter,Observation',
      FHIR_TIMEOUT_MS: '1500',
      OTEL_EXPORTER_OTLP_ENDPOINT: this.collector.url,
      OTEL_BSP_SCHEDULE_DELAY: '20',
      ...environment,
    });
    const { child } = started;
    this.#connectors.push(started);
    // As it is written, beside the lines that are parsed.
    child.stdout?.on('data', (chunk: Buffer) => this.#add('log', String(chunk)));
    child.stderr?.on('data', (chunk: Buffer | string) => this.#add('stderr', String(chunk)));
    void this.#watch(started);
    return started;
  }

  /** Until it streams, and each of its pages was looked at: it may end at once. */
  async streaming(connector: ConnectorProcess): Promise<void> {
    await streaming(connector);
    await vi.waitUntil(() => ROUTES.every((route) => this.said(route) !== ''), PATIENCE);
  }

  /** As a login of the role fhir_operator. */
  async command(...args: string[]): Promise<CommandResult> {
    return this.#run(this.#environment(this.roles.operator, 'operator'), ...args);
  }

  /** As `run` would look. */
  async doctor(...args: string[]): Promise<CommandResult> {
    return this.#run(this.#environment(this.roles.connector, 'connector'), 'doctor', ...args);
  }

  /** As the owner of the tables. */
  async migrate(): Promise<CommandResult> {
    const { user, password } = this.target.config;
    const environment = { ...this.#environment(user, password), FHIR_RESOURCES: 'Patient,Encounter,Observation' };
    return this.#run(environment, 'migrate');
  }

  /** Until each row of the outbox has ended. */
  async settled(): Promise<void> {
    await allProcessed({ pool: this.db });
  }

  async delivered(patient: Patient): Promise<string> {
    return await vi.waitUntil(async () => {
      const { rows } = await this.db.query(
        `SELECT l.fhir_id FROM fhir_link l WHERE l.source_table = 'patient' AND l.source_id = $1
            AND NOT EXISTS (SELECT FROM fhir_outbox o WHERE o.patient_id = $1 AND NOT o.processed)`,
        [patient.id],
      );
      return rows[0]?.fhir_id as string | undefined;
    }, PATIENCE);
  }

  /** All that was said in one place: 'log', 'stderr', '/metrics', 'pg_stat_activity', 'command line', or a command. */
  said(output: string): string {
    return [...(this.#said.get(output) ?? [])].join('');
  }

  /** Ends the connectors, so that they have said all. Nothing holds a mark, anywhere, and each of `outputs` has said something. */
  async expectClean(...outputs: readonly string[]): Promise<void> {
    for (const { child } of this.#connectors) child.kill('SIGTERM');
    await Promise.all(this.#connectors.map(({ exited }) => exited));
    this.#add('traces', this.collector.text);
    const leaking: Leaking[] = [...this.#said.keys()].flatMap((output) => {
      const leaks = this.marks.leaksIn(this.said(output));
      return leaks.length === 0 ? [] : [{ output, leaks }];
    });
    expect(leaking).toEqual([]);
    for (const output of outputs) expect(this.said(output), output).not.toBe('');
  }

  #environment(user: string, password: string): Record<string, string> {
    return { ...connectorEnvironment(this.target, this.fhir.url), DB_USER: user, DB_PASSWORD: password };
  }

  async #run(environment: Readonly<Record<string, string>>, ...args: string[]): Promise<CommandResult> {
    const ended = new AbortController();
    const looking = this.#lookAtSessions(ended.signal);
    const result = await runCommand(environment, ...args);
    ended.abort();
    await looking;
    const name = args.filter((arg) => !/^\d+$/.test(arg)).join(' ');
    this.#add(name, `${result.stdout}${result.stderr}`);
    return result;
  }

  #add(output: string, text: string): void {
    const texts = this.#said.get(output) ?? new Set();
    texts.add(text);
    this.#said.set(output, texts);
  }

  async #watch(connector: ConnectorProcess): Promise<void> {
    const { child, log } = connector;
    const ended = new AbortController();
    void connector.exited.then(() => ended.abort());
    void this.#lookAtSessions(ended.signal);
    while (!ended.signal.aborted) {
      this.#lookAtProcess(child.pid ?? 0);
      const port = log.find(({ msg }) => msg === 'Starting.')?.metricsPort;
      for (const route of port === undefined ? [] : ROUTES)
        await fetch(`http://127.0.0.1:${port}${route}`, { signal: ended.signal })
          .then(async (answer) => this.#add(route, `${JSON.stringify([...answer.headers])}${await answer.text()}`))
          // It ends some time.
          .catch(() => undefined);
      await delay(LOOK_EVERY_MS);
    }
  }

  /** What other users of the machine see of it. */
  #lookAtProcess(pid: number): void {
    for (const file of ['cmdline', 'comm'])
      try {
        this.#add('command line', readFileSync(`/proc/${pid}/${file}`, 'latin1'));
      } catch {
        // It ended, or the system has no /proc.
      }
  }

  async #lookAtSessions(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { rows } = await this.db
        .query('SELECT application_name, query FROM pg_stat_activity WHERE usename = ANY ($1)', [
          Object.values(this.roles),
        ])
        .catch(() => ({ rows: [] }));
      for (const { application_name, query } of rows) this.#add('pg_stat_activity', `${application_name}: ${query}\n`);
      await delay(LOOK_EVERY_MS);
    }
  }
}
