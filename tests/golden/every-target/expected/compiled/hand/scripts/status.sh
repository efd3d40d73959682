#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Plan: 9e6c36d18e4b8ed3d2f36b6495760cc2954811ca1a9574253bdca30ba50d905c
# One line a replica: healthy, starting or stopped. Exit status 0 when all are healthy, else 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

failed=0
report nomic-0 http://127.0.0.1:8000/health || failed=1
exit "$failed"
