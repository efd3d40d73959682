#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 75dc36e040b807a6db38faecad360aaf0f462aac9676a9742dcf2fbac266f609
# Starts what does not run yet and waits until all is healthy; fails when something is not.
# Replicas on the same GPUs wait for each other: engines that start at once spoil each other's
# measurement of free memory.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

take_lock
failed=0
launch small-0
await small-0 http://127.0.0.1:8000/health 958 || failed=1
exit "$failed"
