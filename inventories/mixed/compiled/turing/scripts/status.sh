#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: c36839af75fb38f0749c1dbe5f7fe9aee7cadbfad856426bb10888c89f2618cd
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report small-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
