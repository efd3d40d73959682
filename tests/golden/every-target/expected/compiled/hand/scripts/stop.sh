#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 65157697bfc4932f73cb37a77a7c14ee04f92d47f294f29121a57781fc5abe6e
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
