#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 2b9b3a50e91e3654a49c757b65cc9dc776132351b32ef7683c74596378e654fa
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report chat-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
