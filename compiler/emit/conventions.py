"""What every target derives from a replica in the same way."""

from __future__ import annotations

from compiler.ir.plan import Replica

# Time for an engine to end the requests in flight before it is killed.
STOP_SECONDS = 60


def health_url(replica: Replica) -> str:
    """Where the replica says that it is ready, seen from its own host or container."""
    return f"http://127.0.0.1:{replica.port}{replica.health_path}"


def writes_models(replica: Replica) -> bool:
    """Whether the engine fetches the model itself: it is named by a hub's id and not by a path."""
    return not replica.model_path.startswith("/")
