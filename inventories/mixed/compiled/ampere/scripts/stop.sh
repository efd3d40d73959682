#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: dea2e8b454d4c0e6112a9b9406c369e6c0af97f32b9e332070b808c0030d1e16
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
