#!/bin/sh
# In this variable, Lambda and its emulator give the runtime the address for events. If it is not set, start the
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
