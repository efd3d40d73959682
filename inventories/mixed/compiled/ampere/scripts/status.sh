#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: 03c187c223a0710f9dec37e18e2dc95387aca9b2d95f4fe70f42117232773668
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report chat-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
