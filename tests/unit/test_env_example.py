"""What .env.example says of the settings is true."""

import re

import pytest

from engine.settings import Settings as EngineSettings
from gateway.settings import Settings as GatewaySettings
from tests.processes import ROOT

EXAMPLE = dict(re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))


@pytest.mark.parametrize(("prefix", "settings"), [("GATEWAY_", GatewaySettings), ("ENGINE_", EngineSettings)])
def test_every_setting_is_listed_with_its_default(
    monkeypatch: pytest.MonkeyPatch, prefix: str, settings: type[GatewaySettings] | type[EngineSettings]
) -> None:
    listed = {name: value for name, value in EXAMPLE.items() if name.startswith(prefix)}
    assert set(listed) == {prefix + field.upper() for field in settings.model_fields}
    defaults = settings()
    for name, value in listed.items():
        monkeypatch.setenv(name, value)
    assert settings() == defaults
