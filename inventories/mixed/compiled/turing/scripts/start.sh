#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: dc4eefa9f02752355873cfae3420baf2b7139c0c898f05575c06f1637e16a66f
# Starts what does not run yet and waits until all is healthy; fails when something is not.
# Replicas on the same GPUs wait for each other: engines that start at once spoil each other's
# measurement of free memory.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

take_lock
failed=0
launch small-0
await small-0 http://127.0.0.1:8000/health 958 || failed=1
exit "$failed"
