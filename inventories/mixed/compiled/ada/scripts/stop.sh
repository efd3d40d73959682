#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: c36839af75fb38f0749c1dbe5f7fe9aee7cadbfad856426bb10888c89f2618cd
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
