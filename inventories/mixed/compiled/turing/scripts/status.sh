#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: ec2ab5937489a25b158f846bc05f77a582970942abee90581eef08723c323a45
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report small-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
