#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 65157697bfc4932f73cb37a77a7c14ee04f92d47f294f29121a57781fc5abe6e
# Starts what does not run yet and waits until all is healthy; fails when something is not.
# Replicas on the same GPUs wait for each other: engines that start at once spoil each other's
# measurement of free memory.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

take_lock
failed=0
launch nomic-0
await nomic-0 http://127.0.0.1:8000/health 122 || failed=1
exit "$failed"
