"""The profile shared: who reaches Valkey, and who knows its password."""

import re

import pytest

from deploy.compose.settings import SHARED_URL_FILE
from tests.static import composition
from tests.static.composition import Service

Services = dict[str, Service]

SHARED = {"valkey", "valkey-password"}


@pytest.fixture(scope="module", params=[{}, {"OLLAMA_URLS": "http://gpu1:11434"}])
def services(request: pytest.FixtureRequest) -> Services:
    return composition.services(request.param)


def test_what_gateways_share_is_a_separate_profile_in_a_network_with_them_alone(services: Services) -> None:
    assert {name for name, one in services.items() if "shared" in one.get("profiles", [])} == SHARED
    for name in SHARED:
        assert services[name]["profiles"] == ["shared"]
        assert set(services[name]["networks"]) == {"shared"}
    joined = {name for name, service in services.items() if "shared" in service["networks"]}
    assert joined == SHARED | {"gateway"}
    assert composition.composition({})["networks"]["shared"]["internal"]
    # The gateway starts without it, too.
    assert services["gateway"]["depends_on"]["valkey"] == {"condition": "service_healthy", "required": False}


def test_only_what_makes_the_password_may_write_it(services: Services) -> None:
    mounts = {
        name: mount
        for name, service in services.items()
        for mount in service.get("volumes", [])
        if str(mount).startswith("shared:")
    }
    assert mounts == {
        "gateway": "shared:/shared:ro", "valkey": "shared:/shared:ro", "valkey-password": "shared:/shared",
    }  # fmt: skip
    [user] = re.findall(r"^USER (\S+)$", composition.dockerfile(services["gateway"]), re.MULTILINE)
    assert services["valkey"]["user"] == user
    assert f":{services['valkey-password']['entrypoint'][0]}:" in str(services["valkey-password"]["volumes"])


def test_the_file_with_the_password_can_be_left_out() -> None:
    def file(environment: dict[str, str]) -> str | None:
        return composition.variables(composition.services(environment)["gateway"])["GATEWAY_SHARED_URL_FILE"]

    assert file({}) == SHARED_URL_FILE
    assert file({"GATEWAY_SHARED_URL_FILE": ""}) == ""
