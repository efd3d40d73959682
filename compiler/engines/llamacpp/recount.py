"""What the recount of plans knows of llama.cpp."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.engines.recount import Recount, UsualRecount
from compiler.ir.plan import Replica
from compiler.ir.spec import Variant

_SENDS_EXPERTS = frozenset({"--cpu-moe", "--n-cpu-moe", "--override-tensor"})


class LlamaCppRecount(UsualRecount):
    """Layers on any GPUs and in RAM, each counted."""

    def offload(self, replica: Replica, variant: Variant) -> Iterator[str]:
        """Layers and experts in RAM are those that the variant allows, and the command says so."""
        if variant.offload == "none" and (replica.host_layers or not replica.shares):
            yield f"`{replica.name}` keeps layers in RAM though `offload` is `none`"
        if variant.offload == "cpu" and replica.shares:
            yield f"`{replica.name}` takes GPUs though `offload` is `cpu`"
        if not 0 <= replica.host_layers <= replica.layers:
            yield f"`{replica.name}` keeps {replica.host_layers} of {replica.layers} layers in RAM"
        on_gpus = replica.layers - replica.host_layers
        if not 0 <= replica.host_experts <= on_gpus:
            kept = replica.host_experts
            yield f"`{replica.name}` keeps experts of {kept} of {on_gpus} layers in RAM"
        if replica.host_experts and not _SENDS_EXPERTS & set(replica.argv):
            yield f"`{replica.name}` keeps experts in RAM and its command does not say so"

    def flags(self, replica: Replica, listen: str) -> dict[str, str]:
        """What a client sees, the file, and the layers that were counted."""
        return {
            "--port": str(replica.port),
            "--host": listen,
            "--alias": replica.service,
            "--model": replica.model_path,
            "--n-gpu-layers": str(replica.gpu_layers),
        }


RECOUNT: Recount = LlamaCppRecount()
