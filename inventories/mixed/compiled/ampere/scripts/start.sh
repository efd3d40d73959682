#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: c36839af75fb38f0749c1dbe5f7fe9aee7cadbfad856426bb10888c89f2618cd
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
