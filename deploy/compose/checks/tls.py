"""Will nginx take the certificate?"""

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

from containers import CommandFailed, execute
from environment import Settings
from finding import Finding, fail, ok, warn

NGINX_UID = 101  # of the unprivileged image
SOON = 14 * 24 * 3600
NEW_PAIR = "Put your own there, or make a pair for trying: make certs"


def check_tls(settings: Settings) -> Iterator[Finding]:
    if not settings.tls:
        return
    findings = [finding for path in (settings.certificate, settings.key) for finding in _check_file(path)]
    yield from findings
    if not findings:
        yield _check_pair(settings.certificate, settings.key)


def _check_file(path: Path) -> Iterator[Finding]:
    try:
        status = path.stat()
    except FileNotFoundError:
        yield fail(f"TLS is on, but there is no {path}", NEW_PAIR)
        return
    except OSError as error:
        yield warn(f"{path} cannot be looked at: {error.strerror}", "To check it too: sudo make doctor")
        return
    if stat.S_ISDIR(status.st_mode):
        yield fail(f"{path} is a folder", f"Remove it: sudo rmdir {path}. {NEW_PAIR}")
    elif not (
        status.st_mode & stat.S_IROTH or (status.st_uid == NGINX_UID and status.st_mode & stat.S_IRUSR)
    ):
        # A closed folder keeps the host's other users away: only the file is mounted, and Docker does that.
        yield fail(
            f"nginx, which is user {NGINX_UID} in its container, may not read {path}",
            f"Allow it, and close the folder instead: chmod 700 {path.parent} && chmod 644 {path}",
        )


def _check_pair(certificate: Path, key: Path) -> Finding:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        if "KEY_VALUES_MISMATCH" in str(error):
            return fail(f"{certificate} and {key.name} don't belong together", NEW_PAIR)
        return fail(f"{certificate} and {key.name} are no usable pair: {error.reason or error}", NEW_PAIR)
    except _PasswordWanted:
        return fail(
            f"{key} has a passphrase, which nobody will type",
            f"Take it off: openssl pkey -in {key} -out new.pem && chmod 644 new.pem && mv new.pem {key}",
        )
    except OSError as error:
        return warn(
            f"{certificate} and {key.name} cannot be read: {error.strerror}", "Check them: sudo make doctor"
        )
    return _check_expiry(certificate)


def _check_expiry(certificate: Path) -> Finding:
    command = ("openssl", "x509", "-noout", "-enddate", "-in", str(certificate), "-checkend")
    try:
        now, soon = execute(*command, "0"), execute(*command, str(SOON))
    except CommandFailed:
        return warn(f"{certificate} fits its key; when it ends is unknown without the openssl command")
    end = now.stdout.partition("notAfter=")[2].partition("\n")[0]
    if now.returncode != 0:
        return fail(
            f"{certificate} has been out of date since {end}", "Renew it; one for trying: make certs FORCE=1"
        )
    if soon.returncode != 0:
        return warn(f"{certificate} ends on {end}", "Renew it; one for trying: make certs FORCE=1")
    return ok(f"certificate and key, until {end}")


class _PasswordWanted(Exception):
    pass


def _no_password() -> str:
    raise _PasswordWanted
