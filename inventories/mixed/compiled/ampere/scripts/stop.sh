#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: 9f70fe4dc75d79a883f42683779a01ad28e4f9f10d8426bd8ff3d86ba2879dd9
# Stops every replica that start.sh has started here, also those that are no longer in the plan.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

take_lock
halt_all
