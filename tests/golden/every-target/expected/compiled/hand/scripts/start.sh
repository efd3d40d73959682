#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: c01f24d4b6e1520bcc81fc8ee143a2dd17f0d05ca397fa05bde94ade154b6688
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
