#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 0b472349744bae92a29da102bdde5bf0d80322c095b947d17489c2a0b3db739a
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report reasoning-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
