#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: e5910096cd175eda459e089007ff74e65fd8f7c7172940463088ee5d6f5ac4e7
# Starts what does not run yet and waits until all is healthy; fails when something is not.
# Replicas on the same GPUs wait for each other: engines that start at once spoil each other's
# measurement of free memory.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

take_lock
failed=0
launch chat-0
await chat-0 http://127.0.0.1:8000/health 215 || failed=1
exit "$failed"
