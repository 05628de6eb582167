// What both generated files begin with.

export const HEAD = `# Made from grafana/alerts; after a change there: npm run snapshots\n`;
