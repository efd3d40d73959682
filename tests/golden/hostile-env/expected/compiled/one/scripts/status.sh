#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 5c555cbd92ddc67fe72afb0013cf8b6db7c8e7febca099fde0c26440af870465
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report chat-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
