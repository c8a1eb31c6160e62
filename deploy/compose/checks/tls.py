"""Will nginx accept the certificate?"""

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

from deploy.compose.checks.result import Result, fail, ok, warn
from deploy.compose.docker_cli import CommandFailed, execute
from deploy.compose.settings import Settings

NGINX_UID = 101  # of the unprivileged image
SOON = 14 * 24 * 3600
NEW_PAIR = "Put your own there, or make a self-signed one for trying: make certs"


def check_tls(settings: Settings) -> Iterator[Result]:
    if not settings.tls:
        return
    results = [result for path in (settings.certificate, settings.key) for result in _check_file(path)]
    yield from results
    if not results:
        yield _check_pair(settings.certificate, settings.key)


def _check_file(path: Path) -> Iterator[Result]:
    try:
        status = path.stat()
    except FileNotFoundError:
        yield fail(f"TLS is on, but there is no {path}", NEW_PAIR)
        return
    except OSError as error:
        yield warn(f"{path} cannot be checked: {error.strerror}", "To check it too: sudo make doctor")
        return
    if stat.S_ISDIR(status.st_mode):
        yield fail(f"{path} is a directory", f"Remove it: sudo rmdir {path}. {NEW_PAIR}")
    elif not (
        status.st_mode & stat.S_IROTH or (status.st_uid == NGINX_UID and status.st_mode & stat.S_IRUSR)
    ):
        # A closed directory keeps the host's other users out: Docker mounts only the file, and as root.
        yield fail(
            f"nginx, which is user {NGINX_UID} in its container, cannot read {path}",
            f"Let it, and close the directory instead: chmod 700 {path.parent} && chmod 644 {path}",
        )


def _check_pair(certificate: Path, key: Path) -> Result:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        if "KEY_VALUES_MISMATCH" in str(error):
            return fail(f"{certificate} and {key.name} do not belong together", NEW_PAIR)
        return fail(f"{certificate} and {key.name} cannot be used: {error.reason or error}", NEW_PAIR)
    except _PasswordWanted:
        return fail(
            f"{key} has a passphrase, and nobody is there to type it",
            f"Remove it: openssl pkey -in {key} -out new.pem && chmod 644 new.pem && mv new.pem {key}",
        )
    except OSError as error:
        return warn(
            f"{certificate} and {key.name} cannot be read: {error.strerror}", "Check them: sudo make doctor"
        )
    return _check_expiry(certificate)


def _check_expiry(certificate: Path) -> Result:
    command = ("openssl", "x509", "-noout", "-enddate", "-in", str(certificate), "-checkend")
    try:
        now, soon = execute(*command, "0"), execute(*command, str(SOON))
    except CommandFailed:
        return warn(f"{certificate} fits its key; without the openssl command its expiry cannot be checked")
    end = now.stdout.partition("notAfter=")[2].partition("\n")[0]
    if now.returncode != 0:
        return fail(f"{certificate} expired on {end}", "Renew it; a self-signed one: make certs FORCE=1")
    if soon.returncode != 0:
        return warn(f"{certificate} expires on {end}", "Renew it; a self-signed one: make certs FORCE=1")
    return ok(f"certificate and key are valid until {end}")


class _PasswordWanted(Exception):
    pass


def _no_password() -> str:
    raise _PasswordWanted
