# Two images from the same layers:
#
#   docker build --target lambda -t xray:lambda .    answers Lambda's events
#   docker build --target server -t xray:server .    answers HTTP on port 7860
#
# For arm64 add --platform linux/arm64. For a bundle from the Hugging Face Hub instead of the embedded one, add
# --build-arg MODEL_REPO=USER/NAME --build-arg MODEL_REVISION=SHA.
#
# A tag may change. For a reproducible build, look up the digest of the tag,
#
#   docker buildx imagetools inspect public.ecr.aws/docker/library/python:3.13-slim-bookworm
#
# and pin it: --build-arg BASE=public.ecr.aws/docker/library/python:3.13-slim-bookworm@sha256:DIGEST.
ARG BASE=public.ecr.aws/docker/library/python:3.13-slim-bookworm

FROM ${BASE} AS packages
# Column numbers are only used in tracebacks. Without them, compiled modules are a quarter smaller and faster to load.
ENV PYTHONNODEBUGRANGES=1
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils >/dev/null
COPY requirements-image.lock /build/
RUN python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-cache-dir --no-compile \
        --no-deps --only-binary :all: --require-hashes --target /opt/python --requirement /build/requirements-image.lock
COPY infra/trim.py /build/
RUN python /build/trim.py /opt/python

FROM ${BASE} AS task
COPY --from=packages /opt/python /opt/python
COPY handler /var/task/handler
ENV PYTHONPATH=/opt/python PYTHONDONTWRITEBYTECODE=1 PYTHONNODEBUGRANGES=1
WORKDIR /var/task
ARG MODEL_REPO=
ARG MODEL_REVISION=
RUN if [ -n "$MODEL_REPO" ]; then \
        python -c 'import sys, pathlib, handler.hub; handler.hub.fetch(*sys.argv[1:], pathlib.Path("handler/model"))' \
            "$MODEL_REPO" "$MODEL_REVISION"; fi
# Check the hash and run a first inference with the trimmed packages, so that the build fails if the image cannot serve.
RUN python -c 'from handler import startup; startup.predictor()' \
    && python -m compileall -q --invalidation-mode unchecked-hash handler && chmod -R a+rX /var/task

FROM task AS bytecode
COPY infra/precompile.py /build/
RUN python /build/precompile.py /opt/bytecode

FROM ${BASE} AS serving
COPY --from=packages /opt/python /opt/python
COPY --from=task /var/task /var/task
COPY --from=bytecode /opt/bytecode /
WORKDIR /var/task
# Files are only written to /tmp, so the root file system may be read-only.
ENV PYTHONPATH=/opt/python \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    HF_HOME=/tmp/huggingface \
    HF_HUB_DISABLE_TELEMETRY=1 \
    ORT_DISABLE_TELEMETRY=1
USER 10001:10001

FROM serving AS lambda
# Lambda requires this label for SnapStart if the image is not one of AWS. The parameter SnapStart turns it on.
LABEL com.amazonaws.lambda.feature.snapstart="Allow"
COPY infra/lambda-entrypoint.sh /usr/local/bin/lambda-entrypoint
ENTRYPOINT ["/bin/sh", "/usr/local/bin/lambda-entrypoint"]
CMD ["handler.lambda_entry.lambda_handler"]

# For `sam local`, which writes its emulator into the image as the image's user. Lambda itself ignores this user and runs
# the image as a non-root user.
FROM lambda AS sam
USER 0:0

# The last target, because `docker build` and Hugging Face Spaces use it by default.
FROM serving AS server
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
CMD ["python", "-m", "handler", "serve", "--host", "0.0.0.0", "--port", "7860"]
