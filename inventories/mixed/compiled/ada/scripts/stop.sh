#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 2b9b3a50e91e3654a49c757b65cc9dc776132351b32ef7683c74596378e654fa
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
