"""`make certs`: a self-signed certificate and its key, for trying TLS=on.

Runs under the system's Python, before anything is installed, so it uses the standard library alone.
"""

import os
import socket
import sys
import tempfile
from pathlib import Path

from deploy.compose.docker_cli import CommandFailed, run
from deploy.compose.settings import Settings, read_settings
from deploy.settings.values import BadSetting
from deploy.terminal.command import exit_with
from deploy.terminal.messages import say

DAYS = 90
CONFIG = """
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = {host}
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
subjectAltName = {names}
"""


class Refused(Exception):
    """Nothing was written; the message says why and what to do."""


def make_pair(settings: Settings, *, force: bool) -> None:
    """Raises Refused, CommandFailed, OSError."""
    folder, certificate, key = settings.tls_dir, settings.certificate, settings.key
    if not force and (certificate.exists() or key.exists()):
        raise Refused(f"{folder} already has a certificate or key. To replace them: make certs FORCE=1")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    others = {path.name for path in folder.iterdir()} - {".gitignore", certificate.name, key.name}
    if others:
        raise Refused(
            f"{folder} has other files, such as {min(others)}. It will be closed to other users, so it must "
            "hold nothing but certificate and key: choose another directory with TLS_DIR="
        )
    # nginx is user 101 in its container, so the key must be readable by all. Docker mounts only the file, and
    # as root: a closed directory keeps the other users of this machine out.
    folder.chmod(0o700)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as work:
        new_certificate, new_key = Path(work, certificate.name), Path(work, key.name)
        _openssl(new_certificate, new_key)
        for path in (new_certificate, new_key):
            path.chmod(0o644)
        new_key.replace(key)
        new_certificate.replace(certificate)


def _openssl(certificate: Path, key: Path) -> None:
    host = socket.gethostname()
    names = ["DNS:localhost", "IP:127.0.0.1", "IP:::1"]
    if host != "localhost":
        names.append(f"DNS:{host}")
    config = certificate.with_name("openssl.cnf")
    config.write_text(CONFIG.format(host=host[:64], names=", ".join(names)))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    output = ("-keyout", str(key), "-out", str(certificate))
    run("openssl", "req", "-x509", "-sha256", "-days", str(DAYS), "-config", str(config), *curve, *output)


def main() -> int:
    try:
        settings = read_settings()
        make_pair(settings, force=bool(os.environ.get("FORCE")))
    except (Refused, BadSetting) as error:
        say(error)
        return 1
    except CommandFailed as failed:
        say(f"openssl failed: {failed}. Is it installed? sudo apt install openssl")
        return 1
    except OSError as error:
        say(f"{error.filename}: {error.strerror}")
        return 1
    created = (
        f"Created {settings.certificate} and {settings.key.name}, valid for this machine and {DAYS} days.",
        "Clients do not trust it by themselves; for real use, get one from a certificate authority.",
        "Next: put TLS=on into .env, then make up. If nginx is running already: docker compose restart nginx",
    )
    say("\n".join(created), sys.stdout)
    return 0


if __name__ == "__main__":
    exit_with(main)
