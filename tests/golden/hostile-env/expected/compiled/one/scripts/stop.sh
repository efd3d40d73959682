#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: ffad589b18d2ef9a8895ecc6c9fea7342bd59aff1373fd645540797894794c34
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
