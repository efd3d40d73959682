#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: e5910096cd175eda459e089007ff74e65fd8f7c7172940463088ee5d6f5ac4e7
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report chat-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
