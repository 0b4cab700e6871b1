# The service over a project that is mounted at /project: see docs/guides/service.md.
FROM python:3.11-slim
# Of the processor; for a GPU name https://download.pytorch.org/whl/cu130 and run with --gpus all.
ARG TORCH=https://download.pytorch.org/whl/cpu
WORKDIR /app
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY recipes recipes
COPY unidiff_cli unidiff_cli
RUN pip install --no-cache-dir torch torchvision --index-url "$TORCH" \
    && pip install --no-cache-dir ".[serve]" \
    && useradd --create-home unidiff
USER unidiff
ENV HF_HUB_OFFLINE=1
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz')"]
# UNIDIFF_TOKEN must be set: others than this machine reach the address.
ENTRYPOINT ["unidiff", "-C", "/project", "serve", "--host", "0.0.0.0"]
