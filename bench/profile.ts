// Where the time of a drain goes: V8's CPU profile of the connector, by whose code runs.
// https://nodejs.org/docs/latest-v24.x/api/cli.html#--cpu-prof
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Node {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string };
  readonly children?: readonly number[];
}

interface CpuProfile {
  readonly nodes: readonly Node[];
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
}

/** Share of the time in which the process ran, by owner, the largest first. */
export type Shares = Readonly<Record<string, number>>;

/** Packages that are one thing to whoever reads this. */
const FAMILIES: Readonly<Record<string, string>> = {
  'pg-protocol': 'pg',
  'pg-pool': 'pg',
  'pg-types': 'pg',
  'postgres-date': 'pg',
  'sonic-boom': 'pino',
};

/** Of the one profile in the folder. */
export function sharesOf(folder: string): Shares {
  const [file] = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'));
  if (!file) throw new Error(`There is no CPU profile in ${folder}.`);
  const profile: CpuProfile = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  const owners = ownersOf(profile);
  const times = new Map<string, number>();
  let all = 0;
  for (const [index, id] of profile.samples.entries()) {
    const owner = owners.get(id) ?? 'Node';
    if (owner === '(idle)') continue;
    const time = profile.timeDeltas[index] ?? 0;
    all += time;
    times.set(owner, (times.get(owner) ?? 0) + time);
  }
  const shares = [...times].map(([owner, time]) => [owner, time / all] as const);
  return Object.fromEntries(shares.toSorted(([, a], [, b]) => b - a));
}

/** Node's own functions, and those without an address, belong to whoever calls them. */
function ownersOf({ nodes }: CpuProfile): Map<number, string> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const owners = new Map<number, string>();
  const visit = (node: Node, callers: string) => {
    const owner = ownerOf(node) ?? callers;
    owners.set(node.id, owner);
    for (const child of node.children ?? []) {
      const called = byId.get(child);
      if (called) visit(called, owner);
    }
  };
  const [root] = nodes;
  if (root) visit(root, 'Node');
  return owners;
}

function ownerOf({ callFrame: { functionName, url } }: Node): string | null {
  if (functionName === '(garbage collector)') return 'Garbage collection';
  if (functionName === '(idle)') return '(idle)';
  if (url.startsWith('wasm:')) return 'undici';
  const [, scoped] = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url) ?? [];
  if (scoped) return FAMILIES[scoped] ?? scoped;
  const [, folder] = /\/src\/([^/]+)\//.exec(url) ?? [];
  if (folder) return `src/${folder}`;
  return url.includes('/src/') ? 'src' : null;
}
