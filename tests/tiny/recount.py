"""What the recount of plans knows of the stand-in."""

from __future__ import annotations

from compiler.engines.recount import Recount, UsualRecount
from compiler.ir.plan import Replica


class TinyRecount(UsualRecount):
    """Its flags."""

    def flags(self, replica: Replica, listen: str) -> dict[str, str]:
        return {
            "--name": replica.service,
            "--address": f"{listen}:{replica.port}",
            "--ranks": str(replica.tensor_parallel),
        }


RECOUNT: Recount = TinyRecount()
