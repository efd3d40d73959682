#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: e5910096cd175eda459e089007ff74e65fd8f7c7172940463088ee5d6f5ac4e7
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
