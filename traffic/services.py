"""What vmkernel services say, both ends of it, on sockets that are there: real TLS where vSphere has TLS, the protocol
itself where it is public (HTTP, iSCSI, NFS), and the lab's own records where it is not (NFC, replication, heartbeats).

`blocks` are the service's data. A client returns when the other end has them; a server returns how many bytes of them
it got. Sockets have timeouts: OSError says that somebody did not answer.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lab.errors import SystemRefused
from traffic import storage
from traffic.storage import Connection, exactly
from traffic.tls import Tls

BANNER = b"220 VMware Authentication Daemon Version 1.10: SSL Required, ServerDaemonProtocol:SOAP\r\n"
"""What a host says on port 902 before anything is encrypted (K)."""
_LONGEST_LINE = 4096
_RECORD = struct.Struct("!4sI")
_END = b"\x06"

Blocks = Sequence[bytes]
Client = Callable[[Connection, Blocks], None]
Server = Callable[[Connection], int]


@dataclass(frozen=True)
class Talk:
    """Both ends of one TCP connection. `banner`: what the server says in clear before TLS begins."""

    client: Client
    server: Server
    banner: bytes = b""


def call(talk: Talk, connection: socket.socket, blocks: Blocks, tls: Tls | None) -> None:
    """The client's end, inside TLS when there is one; the connection is closed in the end. Raises SystemRefused,
    OSError."""
    if talk.banner and _line(connection) != talk.banner.rstrip():
        raise SystemRefused("port 902 was answered by somebody else")
    if tls is None:
        talk.client(connection, blocks)
        connection.close()
        return
    with tls.client.wrap_socket(connection) as sealed:
        talk.client(sealed, blocks)


def answer(talk: Talk, connection: socket.socket, tls: Tls | None) -> int:
    """The server's end; returns the bytes of data that came. Raises SystemRefused, OSError."""
    if talk.banner:
        connection.sendall(talk.banner)
    if tls is None:
        return talk.server(connection)
    with tls.server.wrap_socket(connection, server_side=True) as sealed:
        return talk.server(sealed)


# -- lines


def _line(connection: Connection) -> bytes:
    """Without its end; byte by byte, since what follows may be TLS."""
    line = b""
    while not line.endswith(b"\n"):
        more = connection.recv(1)
        if not more or len(line) > _LONGEST_LINE:
            return b""
        line += more
    return line.rstrip()


# -- management


def _api_client(connection: Connection, blocks: Blocks) -> None:
    for block in blocks:
        head = f"POST /sdk HTTP/1.1\r\nHost: esx\r\nSOAPAction: urn:vim25\r\nContent-Length: {len(block)}\r\n\r\n"
        connection.sendall(head.encode() + block)
        if _line(connection) != b"HTTP/1.1 200 OK":
            raise SystemRefused("the host did not answer the API's request")
        _body(connection)


def _api_server(connection: Connection) -> int:
    got = 0
    while _line(connection).startswith(b"POST"):
        got += len(_body(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    return got


def _body(connection: Connection) -> bytes:
    """What follows the header lines."""
    size = 0
    while line := _line(connection):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            size = int(value)
    return exactly(connection, size)


def _login_client(connection: Connection, _blocks: Blocks) -> None:
    """A ticket, and that it is taken: nothing of the data yet."""
    connection.sendall(b"SESSION 52b4c7a0-lab\r\n")
    if not _line(connection).startswith(b"200"):
        raise SystemRefused("the host did not take the ticket")


def _login_server(connection: Connection) -> int:
    _line(connection)
    connection.sendall(b"200 Ready for data\r\n")
    return 0


# -- records of the lab's own


def _record_client(name: bytes) -> Client:
    def client(connection: Connection, blocks: Blocks) -> None:
        for block in blocks:
            connection.sendall(_RECORD.pack(name, len(block)) + block)
        connection.sendall(_RECORD.pack(name, 0))
        exactly(connection, len(_END))

    return client


def _record_server(name: bytes) -> Server:
    def server(connection: Connection) -> int:
        got = 0
        while True:
            said, size = _RECORD.unpack(exactly(connection, _RECORD.size))
            if said != name:
                raise SystemRefused(f"a record of {said!r} where {name!r} was due")
            if not size:
                connection.sendall(_END)
                return got
            got += len(exactly(connection, size))

    return server


def _records(name: bytes) -> Talk:
    return Talk(_record_client(name), _record_server(name))


_LOGIN = Talk(_login_client, _login_server, BANNER)
TALKS: Mapping[str, tuple[Talk, ...]] = {
    "management": (Talk(_api_client, _api_server),),
    "console": (Talk(_record_client(b"MKS "), _record_server(b"MKS "), BANNER),),
    "provisioning": (_LOGIN, _records(b"NFC ")),
    "replication": (_records(b"HBR0"), _records(b"HBR1")),
    "ha": (_records(b"FDM "),),
    "iscsi": (Talk(storage.initiate, storage.target),),
    "nfs": (Talk(storage.write_file, storage.serve_files),),
}
"""Service -> its TCP connections, in the order in which they are made."""
