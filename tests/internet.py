"""A public network within this process: names with public addresses that end on loopback, and its certificates."""

import datetime as dt
import ipaddress
import socket
import ssl
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from a3s_power.registry.outbound import Secured

_DAY: Final = dt.timedelta(days=1)


class Internet:
    """Where names are. `asked` are the names that were looked up, `dialled` the addresses that were called."""

    def __init__(self, **ports: int) -> None:
        self.addresses: dict[str, list[str]] = {}
        self._ports: dict[str, int] = {}
        self.asked: list[str] = []
        self.dialled: list[str] = []
        for number, (name, port) in enumerate(ports.items(), 1):
            self.put(f"{name}.test", f"93.184.216.{number}", port)

    def put(self, name: str, address: str, port: int = 0) -> None:
        """Let a name have an address, behind which is a port of this machine."""
        self.addresses[name] = [address]
        self._ports[address] = port

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a host; loopback's own are what they are."""
        self.asked.append(host)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            if host not in self.addresses:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
            return self.addresses[host]
        return [host]

    def dial(self, bare: socket.socket, address: str, port: int) -> None:
        """Connect to what is behind an address."""
        self.dialled.append(f"{address}:{port}")
        if address in self._ports:
            bare.connect(("127.0.0.1", self._ports[address]))
        elif ipaddress.ip_address(address).is_loopback:
            bare.connect((address, port))
        else:
            raise ConnectionRefusedError


class Authority:
    """Who vouches for servers: its certificate is at `path`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "authority.pem"
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the tests' own authority")])
        certificate = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, *names: str) -> ssl.SSLContext:
        """What a server of these names shows its clients."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = self._signed(subject, key, x509.SubjectAlternativeName([x509.DNSName(name) for name in names]))
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = self._folder / f"{names[0]}.pem"
        file.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        # Clients that a test breaks off in mid-handshake leave no socket open on this side either.
        context.sslsocket_class = Secured
        return context

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        about = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        limited = about.serial_number(x509.random_serial_number()).not_valid_before(now - _DAY)
        whole = limited.not_valid_after(now + _DAY).add_extension(extension, critical=True)
        return whole.sign(self._key, hashes.SHA256())
