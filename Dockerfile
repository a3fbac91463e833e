# docker build -t discord-memory --build-arg PIP_EXTRA_INDEX_URL=ADDRESS .
# ADDRESS is where torch's CPU wheels are (pytorch.org → Get started → CPU); the lock file accepts no other build.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS packages
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.lock /requirements.lock
RUN python -m venv /opt/packages \
 && /opt/packages/bin/pip install --require-hashes -r /requirements.lock \
 && /opt/packages/bin/pip uninstall --yes pip setuptools

FROM ${PYTHON}
RUN groupadd --gid 10001 memory \
 && useradd --uid 10001 --gid memory --no-create-home --home-dir /tmp --shell /usr/sbin/nologin memory \
 && install --directory --owner memory --group memory --mode 0700 /data
COPY --from=packages /opt/packages /opt/packages
WORKDIR /app
COPY bot.py LICENSE PRIVACY.md ./
COPY cogs ./cogs
COPY profiles ./profiles
COPY data/sample ./data/sample
# Nothing is written outside /data and /tmp, so the root file system may be read-only.
ENV PATH=/opt/packages/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MEMORY_DATA=/data \
    MPLCONFIGDIR=/tmp/matplotlib \
    HOME=/tmp
USER 10001:10001
VOLUME /data
STOPSIGNAL SIGTERM
# The bot's heartbeat is a file: no port is opened for this.
HEALTHCHECK --interval=30s --timeout=15s --start-period=90s --retries=3 CMD ["python", "bot.py", "health"]
ENTRYPOINT ["python", "bot.py"]
CMD ["run"]
