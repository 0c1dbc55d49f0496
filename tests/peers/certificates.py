"""A certificate authority for a test, made with the openssl command: what intercepts TLS in companies, in small."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


def openssl(*arguments: str, cwd: Path) -> str:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    answer = subprocess.run(["openssl", *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass
class Authority:
    """A root of its own, and a server certificate for loopback that it has signed."""

    folder: Path
    name: str

    @property
    def root(self) -> Path:
        """The root's certificate, in PEM."""
        return self.folder / "root.pem"

    def sign(self, name: str, use: str = "serverAuth") -> tuple[Path, Path]:
        """A certificate for loopback with this common name, and its key: `name`.pem and `name`.key."""
        openssl(
            *("req", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"), cwd=self.folder
        )
        (self.folder / f"{name}.ext").write_text(
            f"subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={use}\nbasicConstraints=CA:FALSE\n"
        )
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial"),
            *("-out", f"{name}.pem", "-days", "30", "-extfile", f"{name}.ext"),
            cwd=self.folder,
        )
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def server_context(self) -> ssl.SSLContext:
        """For a server; like those that intercept, it shows the root with its own certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "chain.pem", self.folder / "server.key")
        return context

    def hashed_folder(self) -> Path:
        """A folder as SSL_CERT_DIR names one: the root under the name that OpenSSL looks for."""
        folder = self.folder / "hashed"
        folder.mkdir()
        shutil.copy(self.root, folder / "root.pem")
        openssl("rehash", str(folder), cwd=self.folder)
        return folder


def make_authority(folder: Path, name: str = "Gateway CA of a test") -> Authority:
    """Make a root and what it signs; some tenths of a second."""
    folder.mkdir(parents=True, exist_ok=True)
    root_use = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl(
        *("req", "-x509", *_KEY, "-keyout", "root.key", "-out", "root.pem", "-days", "30"),
        *("-subj", f"/O=xetway tests/CN={name}", *root_use),
        cwd=folder,
    )
    authority = Authority(folder, name)
    authority.sign("server")
    (folder / "chain.pem").write_text((folder / "server.pem").read_text() + (folder / "root.pem").read_text())
    return authority
