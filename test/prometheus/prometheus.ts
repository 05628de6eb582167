// A real Prometheus for a test, with the project's own prometheus.yml, scraping connectors on this machine.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { prometheusRules } from '../../grafana/alerts/prometheus.ts';
import { groups } from '../../grafana/alerts/rules.ts';

interface Series {
  readonly labels: Record<string, string>;
  readonly value: number;
}

/** In milliseconds since 1970. */
interface Span {
  readonly from: number;
  readonly to: number;
}

/** Milliseconds since 1970, and the value; null where there is none. */
type Point = readonly [at: number, value: number | null];

interface Range {
  readonly labels: Record<string, string>;
  readonly points: readonly Point[];
}

export interface Prometheus {
  /** What an expression is now, one entry a series. */
  query(expression: string): Promise<Series[]>;
  /** What an expression was: a point for each step, in each series. */
  queryRange(expression: string, span: Span, stepSeconds: number): Promise<Range[]>;
  /** The names of the alerts that fire now, in alphabetical order. */
  firing(): Promise<string[]>;
  stop(): Promise<void>;
}

const binary = process.env.PROMETHEUS_BIN || 'prometheus';
/** It comes with Prometheus, in the same folder. */
export const promtool = binary.includes('/') ? join(dirname(binary), 'promtool') : 'promtool';

const COMPOSE_TARGET = "'connector:9464'";

/**
 * Starts it on a free port; `targets` are the hosts and ports to scrape instead of compose's connector, `rules` the text of
 * its rule file.
 */
export async function startPrometheus(
  targets: readonly string[],
  rules = prometheusRules(groups),
): Promise<Prometheus> {
  const home = await mkdtemp(join(tmpdir(), 'fhir-connector-prometheus-'));
  const configuration = await readFile('prometheus.yml', 'utf8');
  if (!configuration.includes(COMPOSE_TARGET)) throw new Error(`prometheus.yml does not scrape ${COMPOSE_TARGET}.`);
  await writeFile(
    join(home, 'prometheus.yml'),
    configuration.replace(COMPOSE_TARGET, targets.map((target) => `'${target}'`).join(', ')),
  );
  await writeFile(join(home, 'prometheus_rules.yml'), rules);

  const child = spawn(
    binary,
    [
      `--config.file=${join(home, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(home, 'data')}`,
      '--web.listen-address=127.0.0.1:0',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const stop = async () => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await once(child, 'close');
    }
    await rm(home, { recursive: true, force: true });
  };
  try {
    const api = `http://${await addressOf(child)}/api/v1`;
    return {
      query: (expression) => query(api, expression),
      queryRange: (expression, span, stepSeconds) => queryRange(api, expression, span, stepSeconds),
      firing: () => firing(api),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Resolves, once it answers queries, with the address that the log tells, since the port is any free one. */
function addressOf(child: ReturnType<typeof spawn>): Promise<string> {
  const log: string[] = [];
  let address: string | undefined;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  child.once('error', (error: NodeJS.ErrnoException) =>
    reject(
      error.code === 'ENOENT'
        ? new Error(
            `There is no ${binary}: install Debian's package prometheus, or set PROMETHEUS_BIN to the path of Prometheus.`,
          )
        : error,
    ),
  );
  child.once('exit', () => reject(new Error(`Prometheus ended:\n${log.join('\n')}`)));
  if (child.stderr)
    createInterface({ input: child.stderr }).on('line', (line) => {
      log.push(line);
      address = /Listening on.*address=(\S+)/.exec(line)?.[1] ?? address;
      // It listens before it has opened its database; until then it answers 503.
      if (line.includes('ready to receive web requests') && address !== undefined) resolve(address);
    });
  return promise;
}

// https://prometheus.io/docs/prometheus/latest/querying/api/#expression-queries
interface Answer<Result> {
  readonly status: string;
  readonly error?: string;
  readonly data?: { readonly result: Result[] };
}

async function ask<Result>(api: string, kind: string, parameters: { query: string } & Record<string, string>) {
  const response = await fetch(`${api}/${kind}?${new URLSearchParams(parameters)}`);
  const { data, error } = (await response.json()) as Answer<Result>;
  if (data === undefined) throw new Error(`Prometheus refuses ${parameters.query}: ${error}`);
  return data.result;
}

async function query(api: string, expression: string): Promise<Series[]> {
  const result = await ask<{ metric: Record<string, string>; value: [number, string] }>(api, 'query', {
    query: expression,
  });
  return result.map(({ metric, value: [, value] }) => ({ labels: metric, value: Number(value) }));
}

async function queryRange(api: string, expression: string, { from, to }: Span, stepSeconds: number): Promise<Range[]> {
  const result = await ask<{ metric: Record<string, string>; values: [number, string][] }>(api, 'query_range', {
    query: expression,
    start: String(from / 1000),
    end: String(to / 1000),
    step: String(stepSeconds),
  });
  const steps = Math.floor((to - from) / 1000 / stepSeconds);
  return result.map(({ metric, values }) => {
    const known = new Map(values.map(([at, value]) => [Math.round((at - from / 1000) / stepSeconds), Number(value)]));
    const points = Array.from({ length: steps + 1 }, (_, step): Point => {
      const value = known.get(step);
      return [from + step * stepSeconds * 1000, value !== undefined && Number.isFinite(value) ? value : null];
    });
    return { labels: metric, points };
  });
}

// https://prometheus.io/docs/prometheus/latest/querying/api/#alerts
async function firing(api: string): Promise<string[]> {
  const response = await fetch(`${api}/alerts`);
  const { data } = (await response.json()) as { data: { alerts: { state: string; labels: { alertname: string } }[] } };
  return data.alerts
    .filter(({ state }) => state === 'firing')
    .map(({ labels }) => labels.alertname)
    .toSorted();
}
