#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 5c555cbd92ddc67fe72afb0013cf8b6db7c8e7febca099fde0c26440af870465
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
