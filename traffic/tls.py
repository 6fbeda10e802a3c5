"""TLS for what really speaks it: a self-signed certificate, as hosts have one, and both ends' contexts."""

from __future__ import annotations

import datetime
import os
import ssl
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID = datetime.timedelta(days=30)


@dataclass(frozen=True)
class Tls:
    """The client trusts this certificate and no other, so a connection proves who answered it."""

    server: ssl.SSLContext
    client: ssl.SSLContext

    @classmethod
    def new(cls, name: str) -> Tls:
        """With a new key and a certificate for `name`."""
        certificate, key = _self_signed(name)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _load(server, key + certificate)
        server.num_tickets = 0  # a client that has ended reads none of them, and its end would be an error
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False  # names are the lab's, and no host names
        client.load_verify_locations(cadata=certificate.decode())
        return cls(server, client)


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """From memory: the key is in no file."""
    handle = os.memfd_create("certificate")
    try:
        with open(handle, "wb", closefd=False) as file:
            file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


def _self_signed(name: str) -> tuple[bytes, bytes]:
    """(certificate, key) as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - VALID)
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private
