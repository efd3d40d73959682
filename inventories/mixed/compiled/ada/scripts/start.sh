#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: 2abb68b712b6e2a17877bda0e114894989affbc14c63f94dd8605f10e365fa42
# Starts what does not run yet and waits until all is healthy; fails when something is not.
# Replicas on the same GPUs wait for each other: engines that start at once spoil each other's
# measurement of free memory.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

take_lock
failed=0
launch reasoning-0
await reasoning-0 http://127.0.0.1:8000/health 1090 || failed=1
exit "$failed"
