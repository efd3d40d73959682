#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 1ebe4ba65e5b7e3f2249cd4c39a3b09b7c95ff6a2cd36993f3893435ab4f9888
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report nomic-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
