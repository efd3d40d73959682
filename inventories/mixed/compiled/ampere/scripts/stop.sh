#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 0b472349744bae92a29da102bdde5bf0d80322c095b947d17489c2a0b3db739a
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
