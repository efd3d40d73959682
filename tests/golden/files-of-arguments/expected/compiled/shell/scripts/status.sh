#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: 48207022b2838070a98dfdfe2e96345a789bab0a96bae8f519829ba18cd62f9d
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report nomic-2 http://127.0.0.1:8000/health || failed=1
exit "$failed"
