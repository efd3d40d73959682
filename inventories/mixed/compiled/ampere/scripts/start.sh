#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: 64b418b2291deefafe9e0d0c581ba43eaab20e2670e4cef29df32a98cb5cd7d5
# Starts what does not run yet and waits until all is healthy; fails when something is not.
# Replicas on the same GPUs wait for each other: engines that start at once spoil each other's
# measurement of free memory.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

take_lock
failed=0
launch chat-0
await chat-0 http://127.0.0.1:8000/health 1268 || failed=1
exit "$failed"
