#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 8400fa7214c42aadaa7ff0685a2d0cb49f1d437b8ff9216998d2da76036006b6
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
