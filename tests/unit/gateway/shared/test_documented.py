"""What the gateway's README says of Valkey: the names there, and what a gateway must be allowed to do."""

import re
from pathlib import Path

import gateway.shared
from gateway.admission.accounts import MemoryAccounts
from gateway.limits import Limits, parse_windows
from gateway.shared.accounts import SharedAccounts
from tests.integration.queue.queues import until
from tests.processes import ROOT
from tests.unit.gateway.shared.gateways import Gateway
from tests.valkey import valkey

SECTION = re.split(r"^## ", (ROOT / "services/gateway/README.md").read_text(), flags=re.MULTILINE)
[SEVERAL] = [section for section in SECTION if section.startswith("Several gateways\n")]


def test_every_key_and_channel_is_in_a_table_and_nothing_else_is() -> None:
    documented = {
        name
        for row in re.findall(r"^\| (`[^|]*) \|", SEVERAL, re.MULTILINE)
        for name in re.findall(r"`(\w+)", row)
    }
    modules = Path(gateway.shared.__file__).parent.glob("*.py")
    used = {name for path in modules for name in re.findall(r'\bkey\("(\w+)"', path.read_text())}
    # Those of members.py, in a loop.
    assert documented == used | {"members", "scheduler", "epoch"}


async def test_the_documented_permissions_are_enough(tmp_path: Path) -> None:
    [rules] = re.findall(r"`user sluice on >PASSWORD (.*?)`", SEVERAL)
    user = ["--user", "sluice", "on", ">secret", *rules.replace("sluice:", "test:").split()]
    with valkey(tmp_path, *user, "--user", "default", "off") as server:
        url = server.url.replace("://", "://sluice:secret@")
        first, second = Gateway(url), Gateway(url)
        await until(lambda: first.members.count == second.members.count == 2, "both are members")
        running = [one.ask(caller) for one in (first, second) for caller in ("alice", "bob")]
        await until(lambda: all(request.turn.is_running for request in running), "all have their turn")
        accounts = SharedAccounts(second.link, MemoryAccounts())
        limits = Limits(parse_windows("1/h"), (), None)
        assert [(await accounts.enter("alice", limits)).allowed for _ in range(2)] == [True, False]
        assert first.link.up
        assert second.link.up
        for one in (first, second):
            await one.end()
