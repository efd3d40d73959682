#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 9e6c36d18e4b8ed3d2f36b6495760cc2954811ca1a9574253bdca30ba50d905c
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
