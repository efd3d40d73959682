#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 1ebe4ba65e5b7e3f2249cd4c39a3b09b7c95ff6a2cd36993f3893435ab4f9888
# Stops every replica that start.sh has started here, also those that are no longer in the plan.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

take_lock
for file in "$state"/*.pid; do
  [ -e "$file" ] || continue
  name="${file##*/}"
  halt "${name%.pid}" &
done
wait
