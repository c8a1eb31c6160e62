import ssl
import stat
import subprocess
from pathlib import Path

import pytest

from deploy.compose.certs import Refused, make_pair
from deploy.compose.docker_cli import CommandFailed
from tests.unit.deploy.compose.machine import MakeSettings, Program, needs_openssl


@needs_openssl
def test_the_pair_is_for_this_machine_and_its_key_in_a_closed_folder(
    settings: MakeSettings, tmp_path: Path
) -> None:
    tls = settings(TLS_DIR=tmp_path / "tls", TLS="on")
    tls.tls_dir.mkdir(mode=0o755)
    make_pair(tls, force=False)
    assert stat.S_IMODE(tls.tls_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(tls.key.stat().st_mode) == 0o644
    assert sorted(path.name for path in tls.tls_dir.iterdir()) == ["fullchain.pem", "privkey.pem"]
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)
    command = ["openssl", "x509", "-noout", "-text", "-in", str(tls.certificate)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1" in text
    assert "prime256v1" in text


@needs_openssl
def test_a_pair_that_is_there_is_replaced_only_by_force(settings: MakeSettings, tmp_path: Path) -> None:
    tls = settings(TLS_DIR=tmp_path / "tls")
    make_pair(tls, force=False)
    first = tls.key.read_text()
    with pytest.raises(Refused, match="make certs FORCE=1"):
        make_pair(tls, force=False)
    assert tls.key.read_text() == first
    make_pair(tls, force=True)
    assert tls.key.read_text() != first


def test_a_folder_with_other_files_is_not_closed(settings: MakeSettings, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    before = tmp_path.stat().st_mode
    with pytest.raises(Refused, match=r"notes\.txt"):
        make_pair(settings(TLS_DIR=tmp_path), force=True)
    assert tmp_path.stat().st_mode == before


@pytest.mark.usefixtures("program")
def test_without_openssl_it_says_so(settings: MakeSettings, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no openssl on the PATH"):
        make_pair(settings(TLS_DIR=tmp_path / "tls"), force=False)


def test_openssl_that_fails_leaves_no_half_pair(
    program: Program, settings: MakeSettings, tmp_path: Path
) -> None:
    program("openssl", "echo 'no entropy' >&2; exit 1")
    tls = settings(TLS_DIR=tmp_path / "tls")
    with pytest.raises(CommandFailed, match="no entropy"):
        make_pair(tls, force=False)
    assert not list(tls.tls_dir.iterdir())
