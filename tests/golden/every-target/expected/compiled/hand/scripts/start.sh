#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: 292a7796af26dea54c2736d30871b4489265b0c8a0822529648f0b2bf4fe1d80
# Starts what does not run yet and waits until all is healthy; fails when something is not.
# Replicas on the same GPUs wait for each other: engines that start at once spoil each other's
# measurement of free memory.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

take_lock
failed=0
launch nomic-0
await nomic-0 http://127.0.0.1:8000/health 122 || failed=1
exit "$failed"
