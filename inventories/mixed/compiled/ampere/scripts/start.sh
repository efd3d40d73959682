#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: dea2e8b454d4c0e6112a9b9406c369e6c0af97f32b9e332070b808c0030d1e16
# Starts what does not run yet and waits until all is healthy; fails when something is not.
# Replicas on the same GPUs wait for each other: engines that start at once spoil each other's
# measurement of free memory.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

take_lock
failed=0
launch chat-0
await chat-0 http://127.0.0.1:8000/health 1268 || failed=1
exit "$failed"
