# The connector's image: Node runs the TypeScript of src/ directly, so there is nothing to build.
FROM node:24.21.0-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# No package that runs here has an install script.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund
# Half of it is for who develops with them: types, and maps of their sources.
RUN find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete

FROM node:24.21.0-slim
# What would fetch more programs serves nobody here but an intruder.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /usr/local/bin/yarn* /opt/yarn*
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json ./
COPY sql ./sql
COPY src ./src

# Compiled once, here, and not at every start; with the flags of the start, or it would count as compiled for another one.
ENV NODE_COMPILE_CACHE=/app/.compiled
RUN node --max-semi-space-size=32 --heap-growing-percent=50 --no-maglev --v8-pool-size=1 src/main.ts --help >/dev/null

# The image's user `node`, by number: Kubernetes' runAsNonRoot only believes a number.
USER 1000:1000

# Memory that several threads ask for comes from one place and not from one for each of them, which would keep what is free.
# https://man7.org/linux/man-pages/man3/mallopt.3.html
ENV MALLOC_ARENA_MAX=1

EXPOSE 9464

# The image has no curl. /healthz is the process alone: an outage of PostgreSQL or FHIR is not mended by a restart.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --start-interval=1s --retries=3 \
  CMD ["node", "--eval", "fetch(`http://127.0.0.1:${process.env.METRICS_PORT || 9464}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

# What a delivery leaves behind dies young, in a space that is large enough for it; what grew old all the same is collected
# early, for V8 would let it grow to several times of what is alive. And one thread beside the main one collects and compiles:
# of several, the main one would wait for the last on a machine of few cores.
# The middle one of V8's compilers is left out: what runs long gets the best one all the same, and its code takes memory.
ENTRYPOINT ["node", "--max-semi-space-size=32", "--heap-growing-percent=50", "--no-maglev", "--v8-pool-size=1", "src/main.ts"]
CMD ["run"]
