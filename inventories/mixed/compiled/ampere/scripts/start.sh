#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 0b472349744bae92a29da102bdde5bf0d80322c095b947d17489c2a0b3db739a
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
