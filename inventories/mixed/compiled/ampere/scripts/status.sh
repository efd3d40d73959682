#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: dea2e8b454d4c0e6112a9b9406c369e6c0af97f32b9e332070b808c0030d1e16
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report chat-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
