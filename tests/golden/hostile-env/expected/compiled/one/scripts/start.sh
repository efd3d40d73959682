#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: dfc15c46a5851bbd79af6e3bff0f2c601f11262e85d767f18345f3842ced34cd
# Starts what does not run yet and waits until all is healthy; fails when something is not.
# Replicas on the same GPUs wait for each other: engines that start at once spoil each other's
# measurement of free memory.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

take_lock
failed=0
launch chat-0
await chat-0 http://127.0.0.1:8000/health 215 || failed=1
exit "$failed"
