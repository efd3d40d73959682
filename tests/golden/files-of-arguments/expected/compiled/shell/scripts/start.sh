#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: d0978decf816534da38367aab950a718f6c4ff13cbabfdc3ed1772f9e5b26f83
# Starts what does not run yet and waits until all is healthy; fails when something is not.
# Replicas on the same GPUs wait for each other: engines that start at once spoil each other's
# measurement of free memory.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

take_lock
failed=0
launch nomic-2
await nomic-2 http://127.0.0.1:8000/health 122 || failed=1
exit "$failed"
