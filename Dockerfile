# hubserve as an image. Build: docker build -t hubserve .
# Run a Hub repository: docker run -p 8080:8080 -e HF_MODEL_ID=owner/name hubserve
# Run a local folder:   docker run -p 8080:8080 -v "$PWD/my-repository:/repository" hubserve
# Locked down:          docker run -p 8080:8080 --read-only --tmpfs /tmp --cap-drop ALL --user 12345:0 hubserve
ARG NODE_IMAGE=node:24-slim

# Compile: needs the development tools, leaves only dist/.
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY runtime ./runtime
RUN npm run build

# What runs: production packages, without what only other platforms and browsers use.
FROM ${NODE_IMAGE} AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund --no-update-notifier
COPY scripts/prune-runtime.mjs ./scripts/
RUN node scripts/prune-runtime.mjs /app

FROM ${NODE_IMAGE}
LABEL org.opencontainers.image.title="hubserve" \
      org.opencontainers.image.description="A Hugging Face Hub repository as an HTTP endpoint" \
      org.opencontainers.image.licenses="Apache-2.0"
# onnxruntime phones home unless told otherwise before it loads.
ENV NODE_ENV=production \
    ORT_DISABLE_TELEMETRY=1 \
    HF_HOME=/data/huggingface \
    HUBSERVE_CACHE=/data/hubserve \
    npm_config_cache=/tmp/.npm \
    npm_config_update_notifier=false
# uid 1001 as in Hugging Face's own serving images; group 0 so that clusters that pick a random uid can write too.
RUN mkdir -p /data /repository \
 && chown 1001:0 /data \
 && chmod 2775 /data
WORKDIR /app
COPY --from=packages /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json LICENSE handler.ts requirements.json ./
COPY model ./model
USER 1001:0
# The example's own requirement is installed now, so that the image serves it with no network (a volume mounted over /data
# hides it). The group may do what the user may, for clusters that pick a random uid: npm's folder would be closed to it.
RUN node dist/cli.js call . '{"inputs":"I am quite excited how this will turn out"}' --log-level warn \
 && find /data -name '*.map' -delete \
 && chmod -R g=u,o=rX /data \
 && rm -rf /tmp/.npm /tmp/node-compile-cache
EXPOSE 8080
VOLUME ["/data"]
# With node, since the slim image has no curl; node:http costs half of fetch, 0.06 s of CPU. No --start-interval: builders before
# Docker 25 refuse it. Another port is told by a variable (HUBSERVE_PORT, PORT): this command does not see --port.
HEALTHCHECK --interval=10s --timeout=10s --start-period=10m --retries=3 \
  CMD ["node", "-e", "const port = process.env.HUBSERVE_PORT || process.env.PORT || 8080; require('node:http').get({ host: '127.0.0.1', port, path: '/health' }, ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
ENTRYPOINT ["node", "/app/dist/cli.js"]
CMD ["serve"]
