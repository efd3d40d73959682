#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 8400fa7214c42aadaa7ff0685a2d0cb49f1d437b8ff9216998d2da76036006b6
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report chat-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
