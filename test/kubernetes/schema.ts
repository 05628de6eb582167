// What is wrong with a Kubernetes object by the API's own schemas; fields that the API does not know are wrong, too.

import { PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule';
import { ServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor';
import { StatefulSet } from 'kubernetes-models/apps/v1/StatefulSet';
import { Job } from 'kubernetes-models/batch/v1/Job';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { Service } from 'kubernetes-models/v1/Service';

const MODELS = [
  ConfigMap,
  Job,
  NetworkPolicy,
  PodDisruptionBudget,
  PrometheusRule,
  Service,
  ServiceMonitor,
  StatefulSet,
];

/** Sentences, none where all is well. */
export function faultsOf(object: { readonly apiVersion: string; readonly kind: string }): string[] {
  const Model = MODELS.find(({ apiVersion, kind }) => apiVersion === object.apiVersion && kind === object.kind);
  if (!Model) return [`There is no schema of ${object.apiVersion} ${object.kind} here: name it in MODELS.`];
  const unread = new Set<string>();
  const model = watched(Object.assign(new Model(), object), '', unread);
  const faults: string[] = [];
  try {
    model.validate();
  } catch (error) {
    faults.push((error as Error).message);
  }
  const outermost = [...unread].filter((path) => ![...unread].some((other) => path.startsWith(`${other}/`)));
  return [...faults, ...outermost.map((path) => `There is no such field: ${path}`)];
}

/**
 * The package's schemas let pass what they do not name, and the API server drops it: a probe with a misspelt name would be no probe.
 * But they read each field that they know, so what stays in `unread` is a field that they do not know.
 */
function watched<T extends object>(value: T, path: string, unread: Set<string>): T {
  const children = new Map(
    Object.entries(value).map(([key, child]) => [
      key,
      typeof child === 'object' && child !== null ? watched(child, `${path}/${key}`, unread) : child,
    ]),
  );
  if (!Array.isArray(value)) for (const key of children.keys()) unread.add(`${path}/${key}`);
  return new Proxy(value, {
    get(target, key) {
      if (typeof key !== 'string' || !children.has(key)) return Reflect.get(target, key);
      unread.delete(`${path}/${key}`);
      return children.get(key);
    },
  });
}
