#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 65157697bfc4932f73cb37a77a7c14ee04f92d47f294f29121a57781fc5abe6e
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report nomic-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
