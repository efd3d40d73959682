"""Where a replica is reached: what its `listen` and its port mean to others and to its host."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from compiler.ir.inventory import NOT_PUBLISHED, Host


def listen_on(host: Host, listen: str | None) -> str:
    """The address on a host at which a service of this `listen`, or of the host's, is reached.

    Of a network it is the host's own address. Raises ValueError where that is not in it, or where
    the host is known by a name, which may lead anywhere.
    """
    asked = listen or host.listen
    if "/" not in asked:
        return asked
    address = ip_address(host.address)
    if address not in ip_network(asked):
        raise ValueError(asked)
    return str(address)


def is_open(listen: str) -> bool:
    """Whether other hosts may reach what listens there, as far as no firewall is in between."""
    return listen != NOT_PUBLISHED and not ip_address(listen).is_loopback


def socket_of(listen: str, port: int) -> str:
    """Address and port as a URL has them, `127.0.0.1:8000` or `[::1]:8000`."""
    return f"{_bracketed(listen)}:{port}"


def own_address(listen: str) -> str:
    """The address, as a URL has it, by which the replica's own host reaches it.

    What listens on all addresses listens on the loopback one of the same family.
    """
    address = ip_address(listen)
    if address.is_unspecified:
        return "[::1]" if address.version == 6 else "127.0.0.1"  # noqa: PLR2004
    return _bracketed(listen)


def listen_words(listen: str, port: int) -> str:
    """The same for people."""
    if listen == NOT_PUBLISHED:
        return f"port {port} in its containers' network"
    return socket_of(listen, port)


def _bracketed(listen: str) -> str:
    return f"[{listen}]" if ":" in listen else listen
