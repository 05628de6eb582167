// The datasource that panels and alert rules ask; as in grafana/provisioning/datasources.

export const PROMETHEUS = { type: 'prometheus', uid: 'prometheus' };
