# hubserve as an image. Build: docker build -t hubserve .
# Run a Hub repository: docker run -p 8080:8080 -e HF_MODEL_ID=owner/name hubserve
# Run a local folder:   docker run -p 8080:8080 -v "$PWD/my-repository:/repository" hubserve
# Locked down:          docker run -p 8080:8080 --read-only --tmpfs /tmp --cap-drop ALL --user 12345:0 hubserve
#
# Other targets (docker build --target <name>):
#   text    without the codecs of images and sounds
#   debian  on Node's slim image, for handlers that need Debian's packages: FROM hubserve:debian, RUN apt-get install …
#   cuda    for NVIDIA GPUs
# docs/image.md says what is in them and how large they are.
ARG NODE_IMAGE=node:24-slim
ARG CUDA_IMAGE=nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04

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
COPY scripts/prune-runtime.mjs scripts/sbom.mjs ./scripts/
RUN node scripts/prune-runtime.mjs . && node scripts/sbom.mjs sbom.cdx.json

FROM packages AS text-packages
RUN node scripts/prune-runtime.mjs . --text

# Node, npm and the libraries that they load, and a folder for the cache. uid 1001 as in Hugging Face's own serving images; group 0
# so that clusters that pick a random uid can write too.
FROM packages AS root
COPY scripts/image-root.mjs ./scripts/
RUN node scripts/image-root.mjs /image /app && mkdir /empty && chmod 2775 /empty

# Everything that all targets share, besides the packages.
FROM scratch AS house
COPY --from=build /app/dist /app/dist
COPY --from=packages /app/sbom.cdx.json /app/
COPY package.json LICENSE scripts/health.mjs /app/
COPY model /app/model

FROM ${NODE_IMAGE} AS debian
LABEL org.opencontainers.image.title="hubserve" \
      org.opencontainers.image.description="A Hugging Face Hub repository as an HTTP endpoint" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production ORT_DISABLE_TELEMETRY=1 HF_HOME=/data/huggingface HUBSERVE_CACHE=/data/hubserve \
    HUBSERVE_DRAIN_DELAY=5s HUBSERVE_DRAIN_TIMEOUT=18s npm_config_cache=/tmp/.npm npm_config_update_notifier=false
COPY --from=root --chown=1001:0 /empty /data
COPY --from=packages /app/node_modules /app/node_modules
COPY --from=house /app /app
WORKDIR /app
USER 1001:0
EXPOSE 8080
VOLUME ["/data"]
HEALTHCHECK --interval=10s --timeout=10s --start-period=10m --retries=3 CMD ["node", "/app/health.mjs"]
ENTRYPOINT ["node", "/app/dist/cli.js"]
CMD ["serve"]

# The libraries that onnxruntime's CUDA half asks for come with NVIDIA's image; the half itself from where its package says.
FROM packages AS cuda-packages
RUN ONNXRUNTIME_NODE_INSTALL=cuda12 node node_modules/onnxruntime-node/script/install.js \
 && find node_modules/onnxruntime-node -name '*tensorrt*' -delete

FROM ${CUDA_IMAGE} AS cuda
ENV NODE_ENV=production ORT_DISABLE_TELEMETRY=1 HF_HOME=/data/huggingface HUBSERVE_CACHE=/data/hubserve \
    HUBSERVE_DRAIN_DELAY=5s HUBSERVE_DRAIN_TIMEOUT=18s HUBSERVE_DEVICE=cuda npm_config_cache=/tmp/.npm npm_config_update_notifier=false
COPY --from=packages /usr/local/bin/node /usr/local/bin/node
COPY --from=packages /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
COPY --from=root --chown=1001:0 /empty /data
COPY --from=cuda-packages /app/node_modules /app/node_modules
COPY --from=house /app /app
WORKDIR /app
USER 1001:0
EXPOSE 8080
VOLUME ["/data"]
HEALTHCHECK --interval=10s --timeout=10s --start-period=10m --retries=3 CMD ["node", "/app/health.mjs"]
ENTRYPOINT ["node", "/app/dist/cli.js"]
CMD ["serve"]

# No shell, no package manager. onnxruntime phones home unless told otherwise before it loads.
FROM scratch AS small
LABEL org.opencontainers.image.title="hubserve" \
      org.opencontainers.image.description="A Hugging Face Hub repository as an HTTP endpoint" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/usr/local/bin NODE_ENV=production ORT_DISABLE_TELEMETRY=1 HF_HOME=/data/huggingface HUBSERVE_CACHE=/data/hubserve \
    HUBSERVE_DRAIN_DELAY=5s HUBSERVE_DRAIN_TIMEOUT=18s npm_config_cache=/tmp/.npm npm_config_update_notifier=false
COPY --from=root /image /
COPY --from=root --chown=1001:0 /empty /data
COPY --from=house /app /app
WORKDIR /app
USER 1001:0
EXPOSE 8080
VOLUME ["/data"]
# No --start-interval: builders before Docker 25 refuse it. Another port is told by a variable (HUBSERVE_PORT, PORT): it does not see --port.
HEALTHCHECK --interval=10s --timeout=10s --start-period=10m --retries=3 CMD ["node", "/app/health.mjs"]
ENTRYPOINT ["node", "/app/dist/cli.js"]
CMD ["serve"]

FROM small AS text
COPY --from=text-packages /app/node_modules /app/node_modules

FROM small AS cpu
COPY --from=packages /app/node_modules /app/node_modules
