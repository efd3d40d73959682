"""What the recount of plans knows of vLLM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from compiler.engines.recount import Recount, UsualRecount, flags_of
from compiler.ir.inventory import Gpu
from compiler.ir.plan import Replica
from compiler.ir.spec import PlacementRules


class VllmRecount(UsualRecount):
    """Ranks on equal GPUs, and one utilization for all of them."""

    def cut(self, replica: Replica, gpus: Sequence[Gpu], rules: PlacementRules) -> Iterator[str]:
        """As many GPUs as ranks, all alike, and as many ranks as the rules allow."""
        if len({gpu.kind.name for gpu in gpus}) > 1:
            yield f"`{replica.name}` splits tensors over unequal GPUs"
        if gpus and _ranks(replica) != len(gpus):
            yield f"`{replica.name}` has {len(gpus)} GPUs for {_ranks(replica)} ranks"
        degrees = rules.tensor_parallel
        if gpus and degrees and replica.tensor_parallel not in degrees:
            yield f"`{replica.name}` has a tensor parallel degree that its rules exclude"
        if len(gpus) > 1 and any(gpu.kind.mig for gpu in gpus):
            yield f"`{replica.name}` splits tensors over MIG slices"

    def flags(self, replica: Replica, listen: str) -> dict[str, str]:
        """What a client sees, and the sizes that were counted."""
        return {
            "--port": str(replica.port),
            "--host": listen,
            "--served-model-name": replica.service,
            "--max-model-len": str(replica.context),
            "--tensor-parallel-size": str(replica.tensor_parallel),
        }

    def memory(self, replica: Replica, gpus: Sequence[Gpu]) -> Iterator[str]:
        """What it is told to take lies within its shares."""
        flags = flags_of(replica)
        kv = flags.get("--kv-cache-memory-bytes")
        # Pipeline stages have layers of their own, and one size bounds the cache of each.
        sizes = [share.breakdown.kv.bytes for share in replica.shares]
        if kv is not None and int(kv) != max(sizes, default=int(kv)):
            yield f"`{replica.name}` asks for another KV size than planned"
        utilization = flags.get("--gpu-memory-utilization")
        if utilization is None:
            if replica.shares:
                yield f"`{replica.name}` has no utilization and would take the whole GPU"
            return
        share_of_total = Fraction(utilization)
        if not 0 < share_of_total <= 1:
            yield f"`{replica.name}` has an impossible utilization"
        for share, gpu in zip(replica.shares, gpus, strict=True):
            if share_of_total * gpu.kind.cuda_total_bytes > share.share_bytes:
                yield f"`{replica.name}` may take more of GPU {share.gpu} than its share"


def _ranks(replica: Replica) -> int:
    """Tensor parallel ranks of all pipeline stages and data parallel engines."""
    flags = flags_of(replica)
    stages = int(flags.get("--pipeline-parallel-size", 1))
    return replica.tensor_parallel * stages * int(flags.get("--data-parallel-size", 1))


RECOUNT: Recount = VllmRecount()
