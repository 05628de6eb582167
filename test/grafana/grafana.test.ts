// The real Grafana of docker-compose.yml has datasource, dashboard and every alert rule, and fires when the connector is stopped.

import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { uidOf } from '../../grafana/alerts/grafana.ts';
import { groups, rules } from '../../grafana/alerts/rules.ts';
import { Composition } from '../compose/composition.ts';

/** Images are pulled before; HAPI and Grafana start at the same time. */
const PATIENCE = { timeout: 240_000, interval: 1000 };

/** https://grafana.com/docs/grafana/latest/developers/http_api/alerting_provisioning/ */
interface ProvisionedRule {
  readonly uid: string;
  readonly title: string;
  readonly ruleGroup: string;
  readonly provenance: string;
  readonly condition: string;
  readonly noDataState: string;
  readonly execErrState: string;
  readonly data: readonly { readonly refId: string; readonly model: Readonly<Record<string, unknown>> }[];
}

/** As Prometheus' own /api/v1/rules. */
interface Evaluated {
  readonly data: {
    readonly groups: readonly {
      readonly rules: readonly { readonly name: string; readonly state: string; readonly health: string }[];
    }[];
  };
}

let composition: Composition;

beforeAll(async () => {
  composition = await Composition.create({ project: 'fhir-connector-grafana-test' });
  await composition.compose('down', '--volumes', '--remove-orphans');
  await composition.compose('up', '--build', '--wait');
  await vi.waitUntil(() => composition.grafana('api/health'), PATIENCE);
});

afterEach(async ({ task }) => {
  if (task.result?.state === 'fail')
    console.log(await composition.compose('logs', '--no-color', '--tail=50', 'grafana', 'prometheus', 'connector'));
});

afterAll(() => composition.compose('down', '--volumes', '--remove-orphans'));

async function evaluated() {
  const answer = await composition.grafana<Evaluated>('api/prometheus/grafana/api/v1/rules');
  return answer?.data.groups.flatMap((group) => group.rules) ?? [];
}

async function stateOf(alert: string): Promise<string | undefined> {
  return (await evaluated()).find(({ name }) => name === alert)?.state;
}

describe('Grafana', () => {
  it('has the datasource under its fixed uid, and reaches Prometheus through it', async () => {
    expect(await composition.grafana('api/datasources/uid/prometheus')).toMatchObject({
      uid: 'prometheus',
      type: 'prometheus',
      url: 'http://prometheus:9090',
      readOnly: true,
    });
    await expect
      .poll(() => composition.grafana('api/datasources/uid/prometheus/health'), PATIENCE)
      .toMatchObject({ status: 'OK' });
  });

  it('has the dashboard, with the panels of its file', async () => {
    const file = JSON.parse(readFileSync('grafana/dashboards/fhir_connector_dashboard.json', 'utf8'));
    const found = await composition.grafana<{ dashboard: typeof file; meta: object }>(`api/dashboards/uid/${file.uid}`);
    expect(found?.meta).toMatchObject({ provisioned: true, folderTitle: 'FHIR Connector' });
    expect(found?.dashboard.title).toBe(file.title);
    const titles = (panels: { title: string }[]) => panels.map(({ title }) => title);
    expect(titles(found?.dashboard.panels)).toEqual(titles(file.panels));
  });

  it('has every alert rule as it was made from the source', async () => {
    const provisioned = (await composition.grafana<ProvisionedRule[]>('api/v1/provisioning/alert-rules')) ?? [];
    expect(provisioned.map(({ title }) => title).toSorted()).toEqual(rules.map(({ name }) => name).toSorted());
    for (const group of groups)
      for (const rule of group.rules) {
        const found = provisioned.find(({ uid }) => uid === uidOf(rule));
        expect(found, rule.name).toMatchObject({
          title: rule.name,
          ruleGroup: group.name,
          provenance: 'file',
          condition: 'C',
          noDataState: rule.noData.state,
          execErrState: rule.queryFails ?? 'KeepLast',
        });
        expect(found?.data[0]?.model.expr).toBe(rule.value);
      }
  });

  it('evaluates each of them without an error', async () => {
    const failing = async () =>
      (await evaluated()).filter(({ health }) => health !== 'ok' && health !== 'nodata').map(({ name }) => name);
    await expect.poll(async () => (await evaluated()).length, PATIENCE).toBe(rules.length);
    await expect.poll(failing, PATIENCE).toEqual([]);
  });

  it('fires SlotInactive and ConnectorDown after the connector is stopped, and no more once it is started again', async () => {
    await expect.poll(() => composition.connectorState(), PATIENCE).toBe('streaming');
    await expect.poll(() => stateOf('SlotInactive'), PATIENCE).toBe('inactive');
    await composition.compose('stop', 'connector');
    await expect.poll(() => stateOf('SlotInactive'), PATIENCE).toBe('firing');
    await expect.poll(() => stateOf('ConnectorDown'), PATIENCE).toBe('firing');
    await composition.compose('start', 'connector');
    await expect.poll(() => stateOf('SlotInactive'), PATIENCE).toBe('inactive');
    await expect.poll(() => stateOf('ConnectorDown'), PATIENCE).toBe('inactive');
  });
});
