#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: c01f24d4b6e1520bcc81fc8ee143a2dd17f0d05ca397fa05bde94ade154b6688
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report nomic-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
