// The composed system under a project name, ports and an environment of its own, beside whatever else runs on the machine.

import { execFile } from 'node:child_process';
import { type AddressInfo, createServer } from 'node:net';
import { promisify } from 'node:util';

const run = promisify(execFile);

const PORTS = ['POSTGRES_PORT', 'HAPI_PORT', 'METRICS_PORT', 'PROMETHEUS_PORT', 'GRAFANA_PORT'] as const;

export interface Patient {
  readonly id: string;
  readonly active: boolean;
  readonly meta: { readonly versionId: string };
  readonly identifier: readonly { readonly system: string; readonly value: string }[];
  readonly name?: readonly { readonly family?: string }[];
  readonly telecom?: readonly { readonly system: string; readonly value: string }[];
}

type Ports = Readonly<Record<(typeof PORTS)[number], number>>;

export interface CompositionOptions {
  readonly project: string;
  /** Beside docker-compose.yml. */
  readonly overrides?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

export class Composition {
  readonly #project: string;
  readonly #files: readonly string[];
  readonly #environment: NodeJS.ProcessEnv;
  readonly #ports: Ports;

  static async create(options: CompositionOptions): Promise<Composition> {
    const free = await freePorts(PORTS.length);
    return new Composition(options, Object.fromEntries(PORTS.map((name, at) => [name, free[at]])) as Ports);
  }

  private constructor({ project, overrides = [], environment = {} }: CompositionOptions, ports: Ports) {
    this.#project = project;
    this.#files = ['docker-compose.yml', ...overrides].flatMap((file) => ['-f', file]);
    this.#ports = ports;
    this.#environment = { ...process.env, ...environment, COMPOSE_PROJECT_NAME: project };
    for (const name of PORTS) this.#environment[name] = String(ports[name]);
  }

  /** `docker compose …` with the defaults of .env.example, whatever .env holds. */
  async compose(...args: string[]): Promise<string> {
    return this.#docker('compose', '--env-file', '.env.example', ...this.#files, ...args);
  }

  /** A line of shell as the README has it, from the project's folder, for this composition. */
  async shell(line: string): Promise<string> {
    const { stdout, stderr } = await run('bash', ['-c', line], { env: this.#environment });
    return stdout + stderr;
  }

  /** Containers, volumes and networks of this composition that exist, whatever their state. */
  async leftovers(): Promise<string[]> {
    const label = ['--filter', `label=com.docker.compose.project=${this.#project}`, '-q'];
    const found = await Promise.all([
      this.#docker('ps', '-a', ...label),
      this.#docker('volume', 'ls', ...label),
      this.#docker('network', 'ls', ...label),
    ]);
    return found.join('\n').split('\n').filter(Boolean);
  }

  /** Runs one of the operator's commands, as the README has it; what it prints to stdout. */
  async operator(...args: string[]): Promise<string> {
    return this.compose('run', '--rm', 'operator', ...args);
  }

  /** Runs a program in the connector's container; what it prints. */
  async inConnector(...command: string[]): Promise<string> {
    return this.compose('exec', '-T', 'connector', ...command);
  }

  /** Runs SQL in the postgres container; the rows come back as psql prints them, without alignment. */
  async psql(sql: string): Promise<string> {
    const psql = ['psql', '--no-psqlrc', '--set=ON_ERROR_STOP=1', '-U', 'postgres', '-d', 'health', '-qAt', '-c', sql];
    return (await this.compose('exec', '-T', 'postgres', ...psql)).trim();
  }

  /** Lets this composition's connector, while it is not started, reach the servers of another one by their names. */
  async joinNetworkOf(other: Composition): Promise<void> {
    const connector = (await this.compose('ps', '--all', '-q', 'connector')).trim();
    await this.#docker('network', 'connect', `${other.#project}_default`, connector);
  }

  /** What the connector's /readyz tells of itself; null while it does not answer. */
  async connectorState(): Promise<string | null> {
    const url = `http://127.0.0.1:${this.#ports.METRICS_PORT}/readyz`;
    return (await this.#get<{ state: string }>(url))?.state ?? null;
  }

  /** GET on HAPI; null while it gives no answer, or one that is no success. */
  async fhir<T>(path: string): Promise<T | null> {
    // HAPI would answer a search from one of the last minute: https://hapifhir.io/hapi-fhir/docs/server_jpa/configuration.html
    return this.#get<T>(`http://127.0.0.1:${this.#ports.HAPI_PORT}/fhir/${path}`, { 'cache-control': 'no-cache' });
  }

  /** The living resources with an identifier of this system; null while HAPI gives none. */
  async patients(system: string): Promise<Patient[] | null> {
    const path = `Patient?identifier=${encodeURIComponent(`${system}|`)}&_count=50`;
    const bundle = await this.fhir<{ entry?: { resource: Patient }[]; link: { relation: string }[] }>(path);
    if (bundle?.link.some(({ relation }) => relation === 'next'))
      throw new Error(`${system} fills more than one page.`);
    return bundle && (bundle.entry ?? []).map(({ resource }) => resource);
  }

  /** The value of a PromQL expression that gives one series; null while it gives none. */
  async prometheus(expression: string): Promise<number | null> {
    const url = `http://127.0.0.1:${this.#ports.PROMETHEUS_PORT}/api/v1/query?query=${encodeURIComponent(expression)}`;
    const answer = await this.#get<{ data: { result: { value: [number, string] }[] } }>(url);
    const value = answer?.data.result[0]?.value[1];
    return value === undefined ? null : Number(value);
  }

  /** GET on Grafana's API, as the administrator of .env.example; null while it gives no answer, or one that is no success. */
  async grafana<T>(path: string): Promise<T | null> {
    const authorization = `Basic ${Buffer.from('admin:admin').toString('base64')}`;
    return this.#get<T>(`http://127.0.0.1:${this.#ports.GRAFANA_PORT}/${path}`, { authorization });
  }

  async #docker(...args: string[]): Promise<string> {
    const { stdout } = await run('docker', args, { env: this.#environment, maxBuffer: 64 * 1024 * 1024 });
    return stdout;
  }

  async #get<T>(url: string, headers: Record<string, string> = {}): Promise<T | null> {
    try {
      const response = await fetch(url, { headers, signal: AbortSignal.timeout(10_000) });
      return response.ok ? ((await response.json()) as T) : null;
    } catch {
      return null;
    }
  }
}

/** They are held all at once, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  return Promise.all(
    servers.map(async (server) => {
      if (!server.listening) await new Promise((resolve) => server.once('listening', resolve));
      const { port } = server.address() as AddressInfo;
      await new Promise((resolve) => server.close(resolve));
      return port;
    }),
  );
}
