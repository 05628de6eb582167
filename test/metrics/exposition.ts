// Reads Prometheus' text format back into samples, strictly: a line that is none of its forms is an error.

interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

export interface Exposition {
  types: Map<string, string>;
  help: Map<string, string>;
  samples: Sample[];
}

const sampleLine = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const labelPair = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)/y;

// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
export function parseExposition(text: string): Exposition {
  const exposition: Exposition = { types: new Map(), help: new Map(), samples: [] };
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (comment) {
      const [, kind, name = '', rest = ''] = comment;
      (kind === 'TYPE' ? exposition.types : exposition.help).set(name, rest);
      continue;
    }
    const [, name, labels = '', value = ''] = sampleLine.exec(line) ?? [];
    if (name === undefined) throw new Error(`not a line of the text format: ${line}`);
    exposition.samples.push({ name, labels: parseLabels(labels), value: parseValue(value) });
  }
  return exposition;
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  labelPair.lastIndex = 0;
  while (labelPair.lastIndex < text.length) {
    const pair = labelPair.exec(text);
    if (pair === null) throw new Error(`not a list of labels: ${text}`);
    labels[pair[1] ?? ''] = pair[2] ?? '';
  }
  return labels;
}

function parseValue(text: string): number {
  // Go's ParseFloat, which Prometheus uses, takes NaN and Inf in any case.
  if (/^nan$/i.test(text)) return Number.NaN;
  const infinity = /^([+-]?)inf$/i.exec(text);
  if (infinity) return infinity[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  const value = Number(text);
  if (Number.isNaN(value)) throw new Error(`not a value: ${text}`);
  return value;
}
