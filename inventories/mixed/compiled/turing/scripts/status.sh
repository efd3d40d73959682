#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 75dc36e040b807a6db38faecad360aaf0f462aac9676a9742dcf2fbac266f609
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report small-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
