#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: c01f24d4b6e1520bcc81fc8ee143a2dd17f0d05ca397fa05bde94ade154b6688
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
