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
    aliases = {name: field.validation_alias for name, field in settings.model_fields.items()}
    variables = {str(alias or prefix + name.upper()) for name, alias in aliases.items()}
    listed = {name: value for name, value in EXAMPLE.items() if name.startswith(prefix) or name in variables}
    assert set(listed) == variables
    defaults = settings()
    for name, value in listed.items():
        monkeypatch.setenv(name, value)
    assert settings() == defaults
