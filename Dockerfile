# syntax=docker/dockerfile:1
# Studio in a container: the board, its workers and the demo data, on a CPU or on NVIDIA GPUs. See docs/docker.md.

FROM python:3.12-slim

# tini reaps the processes that finished runs leave behind and hands signals on; torch.compile needs a C compiler.
# Debian's own versions are taken, since it removes older ones from its mirrors.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev tini \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# Another package index, or a further one with the small CPU build of torch; pip ignores them while they are empty.
# What is given here can be read from the image's history: no passwords.
ARG PIP_INDEX_URL=""
ARG PIP_EXTRA_INDEX_URL=""

# The packages first: this large layer is built again only when their versions change.
WORKDIR /opt/studio
COPY pyproject.toml constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > /tmp/requirements.txt \
    && pip install --constraint constraints.txt --requirement /tmp/requirements.txt \
    && rm /tmp/requirements.txt

COPY LICENSE README.md ./
COPY studio studio
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps . \
    && useradd --create-home --uid 1000 studio \
    && install --directory --owner=studio --group=studio /workspace /workspace/data /workspace/models /workspace/saves

USER 1000:1000
WORKDIR /workspace
COPY --chown=studio:studio dataset_info.json ./
COPY --chown=studio:studio data data
COPY --chown=studio:studio configs configs

# Models from a hub are kept with the other models, so that a new container does not fetch them again.
ENV HF_HOME=/workspace/models/.huggingface \
    MODELSCOPE_CACHE=/workspace/models/.modelscope

VOLUME ["/workspace/data", "/workspace/models", "/workspace/saves"]
EXPOSE 7860

# Any answer below 500 will do: with a password set, the first page asks for it. No proxy stands between the two.
HEALTHCHECK --interval=60s --timeout=10s --start-period=60s --retries=3 CMD ["python", "-c", "\
import urllib.error, urllib.request as request\n\
try:\n\
    request.build_opener(request.ProxyHandler({})).open('http://127.0.0.1:7860/', timeout=8).close()\n\
except urllib.error.HTTPError as error:\n\
    raise SystemExit(error.code >= 500)\n"]

# The board opens to the network of the container, which it does only with STUDIO_PASSWORD set.
ENTRYPOINT ["tini", "--"]
CMD ["studio", "webui", "--host", "0.0.0.0", "--port", "7860", "--workspace", "/workspace"]
