#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 75dc36e040b807a6db38faecad360aaf0f462aac9676a9742dcf2fbac266f609
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
