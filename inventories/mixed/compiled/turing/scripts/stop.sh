#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: ea180d04ba9346f14a90dd8a48c6888faa32db4bc0643b8351c8da07fed5c79e
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
