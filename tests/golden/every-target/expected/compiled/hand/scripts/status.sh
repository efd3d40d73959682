#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: 6ba214da93cfc325096da0ac36c78606612fe5ee15ada82a97d91ad26a16e274
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report nomic-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
