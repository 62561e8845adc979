# Omma on CPUs; with --build-arg LOCK=gpu on NVIDIA GPUs: CUDA comes with the locked packages.
#
#   docker build -t omma:cpu .
#   docker run --network host --volume omma:/var/lib/omma omma:cpu
FROM node:24-bookworm-slim AS node

FROM python:3.12-slim-bookworm AS packages
ARG LOCK=cpu
RUN python -m venv /opt/omma
COPY requirements/${LOCK}.txt /tmp/lock.txt
# Only wheels, only with the lock's hashes: no package's script runs.
RUN /opt/omma/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
    --requirement /tmp/lock.txt

FROM python:3.12-slim-bookworm
# tini reaps what Ray's processes leave behind; rsync is what Ray's cluster launcher copies with.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends rsync tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 omma \
    && install --directory --owner omma /var/lib/omma
# Some models are npm packages, fetched by npm.
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
COPY --from=packages /opt/omma /opt/omma
COPY --chown=omma . /srv/omma
WORKDIR /srv/omma
RUN /opt/omma/bin/pip install --no-cache-dir --no-deps --no-build-isolation --editable .

USER omma
ENV PATH=/opt/omma/bin:$PATH OMMA_HOME=/var/lib/omma PYTHONUNBUFFERED=1
VOLUME /var/lib/omma
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["tini", "--"]
# exec, so that `docker stop` reaches omma itself, which takes the cluster down in order.
CMD ["sh", "-c", "omma models pull && exec omma up"]
