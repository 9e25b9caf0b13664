"""Check whether a server can listen at an address, before the model is loaded, so that an error comes at once."""

import errno
import socket
from typing import Any

from handler.errors import AddressUnavailable


def require_free(host: str, port: int) -> None:
    """Check that a server can listen on a port of all addresses of a host.

    Args:
        host: name or address.
        port: 0 for any that is free.

    Raises:
        AddressUnavailable: another program listens there, or this machine or user cannot.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        missing = [exc for family, *_, address in addresses if (exc := _bind(family, address)) is not None]
        if len(missing) == len(addresses):
            raise missing[0]
    except OSError as exc:
        raise AddressUnavailable(_said(exc, host, port)) from exc
    except UnicodeError as exc:
        raise AddressUnavailable(f"{host!r} is not a host: name an address, such as --host 127.0.0.1") from exc


def _bind(family: int, address: Any) -> OSError | None:
    """Bind an address and release it. Returns the error if this machine lacks it, as many lack IPv6's."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            probe.bind(address)
    except OSError as exc:
        if exc.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return exc
        raise
    return None


def _said(exc: OSError, host: str, port: int) -> str:
    if exc.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else 8000
        return (
            f"port {port} of {host} is in use by another program: stop it, or choose another port with --port {other}, "
            f"or with make serve PORT={other}"
        )
    if exc.errno in (errno.EACCES, errno.EPERM):
        return f"this user may not use port {port}: choose one above 1023, such as --port 8000"
    return (
        f"cannot listen on {host} ({exc.strerror or exc}): choose an address of this machine, such as --host 127.0.0.1"
    )
