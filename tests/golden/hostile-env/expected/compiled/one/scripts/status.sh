#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: ffad589b18d2ef9a8895ecc6c9fea7342bd59aff1373fd645540797894794c34
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report chat-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
