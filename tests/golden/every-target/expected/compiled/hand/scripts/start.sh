#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 9e6c36d18e4b8ed3d2f36b6495760cc2954811ca1a9574253bdca30ba50d905c
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
