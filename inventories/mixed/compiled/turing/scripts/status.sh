#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: ea180d04ba9346f14a90dd8a48c6888faa32db4bc0643b8351c8da07fed5c79e
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report small-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
