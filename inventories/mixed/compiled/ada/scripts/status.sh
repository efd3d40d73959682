#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: 701a73944807902d33ac023214418d285f4157723d40e68d908f7e979e12b991
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report reasoning-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
