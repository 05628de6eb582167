// Which of a panel's overrides is a series', by its name.

import type { Panel } from '@grafana/grafana-foundation-sdk/dashboard';

/** What the first override that is the series' says of a property; undefined where none does. */
export function overridden({ fieldConfig }: Panel, name: string, property: string) {
  const own = fieldConfig?.overrides.find(({ matcher: { id, options } }) =>
    // Grafana writes it between slashes.
    id === 'byRegexp' ? new RegExp(options.slice(1, -1)).test(name) : options === name,
  );
  return own?.properties.find(({ id }) => id === property)?.value;
}
