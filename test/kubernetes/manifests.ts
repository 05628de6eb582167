// The files of kubernetes/: what they say, and the settings that they give the connector.
import { globSync } from 'node:fs';
import { dirname } from 'node:path';
import { parse } from 'yaml';
import { read } from '../docs/document.ts';

type Labels = Readonly<Record<string, string>>;

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
  readonly periodSeconds: number;
  readonly timeoutSeconds: number;
  readonly failureThreshold: number;
}

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly env: readonly {
    readonly name: string;
    readonly value?: string;
    readonly valueFrom?: { readonly secretKeyRef: { readonly name: string; readonly key: string } };
  }[];
  readonly envFrom: readonly { readonly configMapRef: { readonly name: string } }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe: Probe;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
  readonly resources: Readonly<Record<'requests' | 'limits', Readonly<Record<string, string>>>>;
  readonly securityContext: object;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}

export interface Pod {
  readonly metadata: { readonly labels: Labels };
  readonly spec: {
    readonly terminationGracePeriodSeconds?: number;
    readonly topologySpreadConstraints?: readonly { readonly labelSelector: { readonly matchLabels: Labels } }[];
    readonly containers: readonly [Container];
    readonly volumes: readonly { readonly name: string; readonly secret: { readonly secretName: string } }[];
  };
}

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels: Labels };
  // biome-ignore lint/suspicious/noExplicitAny: each kind has another one, and its schema is what checks it.
  readonly spec: any;
}

export interface Kustomization {
  readonly folder: string;
  readonly resources?: readonly string[];
  readonly components?: readonly string[];
  readonly images?: readonly { readonly name: string; readonly newName: string; readonly newTag: string }[];
  readonly configMapGenerator?: readonly { readonly name: string; readonly envs: readonly string[] }[];
  readonly replicas?: readonly { readonly name: string; readonly count: number }[];
}

const files = globSync('kubernetes/**/*.yaml');
const isKustomization = (file: string) => file.endsWith('/kustomization.yaml');

export const kustomizations: readonly Kustomization[] = files
  .filter(isKustomization)
  .map((file) => ({ folder: dirname(file), ...parse(read(file)) }));

export const manifests: readonly (Manifest & { file: string })[] = files
  .filter((file) => !isKustomization(file))
  .map((file) => ({ file, ...parse(read(file)) }));

/** The only one of its kind. */
export function manifest(kind: string): Manifest {
  const [found, ...others] = manifests.filter((each) => each.kind === kind);
  if (!found || others.length > 0) throw new Error(`kubernetes/ has not one ${kind}.`);
  return found;
}

export const connectorPod: Pod = manifest('StatefulSet').spec.template;
export const migratePod: Pod = manifest('Job').spec.template;

/** site/settings.env, with what is commented out in it as `others`. */
export const settings = {
  given: variables(/^(\w+)=(.*)$/gm),
  others: variables(/^#(\w+)=(.*)$/gm),
};

function variables(line: RegExp): Readonly<Record<string, string>> {
  const matches = read('kubernetes/site/settings.env').matchAll(line);
  return Object.fromEntries([...matches].map(([, name = '', value = '']) => [name, value]));
}
