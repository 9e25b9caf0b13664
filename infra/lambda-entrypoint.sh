#!/bin/sh
# Lambda, and its emulator, tell the runtime by this variable where to ask for events. Where it is missing, start the
# emulator, which then starts the runtime.
set -eu
emulator=/usr/local/bin/aws-lambda-rie
if [ -n "${AWS_LAMBDA_RUNTIME_API:-}" ]; then
    exec python -m awslambdaric "$@"
elif [ -x "$emulator" ]; then
    exec "$emulator" /usr/local/bin/python -m awslambdaric "$@"
fi
echo "outside Lambda this image needs AWS's emulator: run it with --volume /path/to/aws-lambda-rie:$emulator:ro" >&2
exit 1
