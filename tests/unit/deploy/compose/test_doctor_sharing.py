"""Do the gateways of the running stack share their state?"""

from deploy.compose.checks.sharing import check_sharing
from tests.unit.deploy.compose.machine import FakeStack, MakeSettings, container, levels_and_text

GATEWAYS = [container("gateway", name=f"sluice-gateway-{number}") for number in (1, 2)]
VALKEY = container("valkey")


def test_nothing_is_said_before_the_start_or_of_a_single_gateway(settings: MakeSettings) -> None:
    assert list(check_sharing(settings(COMPOSE_PROFILES="cpu,shared"), [])) == []
    assert list(check_sharing(settings(), GATEWAYS[:1])) == []


def test_several_gateways_without_the_profile_get_a_warning_with_the_command(settings: MakeSettings) -> None:
    levels, text = levels_and_text(check_sharing(settings(COMPOSE_PROFILES="gpu,monitoring"), GATEWAYS))
    assert levels == ["warn"]
    assert "2 gateways run, which share nothing" in text
    assert "make up PROFILE=gpu,monitoring,shared" in text


def test_a_valkey_that_does_not_run_is_a_failure(settings: MakeSettings) -> None:
    stopped = container("valkey", "exited", exit_code=137)
    levels, text = levels_and_text(
        check_sharing(settings(COMPOSE_PROFILES="cpu,shared"), [*GATEWAYS, stopped])
    )
    assert levels == ["fail"]
    assert "make up PROFILE=cpu,shared" in text


def test_what_the_gateways_say_of_valkey_is_shown(stack: FakeStack, settings: MakeSettings) -> None:
    shared = settings(COMPOSE_PROFILES="cpu,shared", PORT=stack.port)
    stack.answers["/readyz"] = (200, {"status": "ready", "shared": "it does not answer in time"})
    levels, text = levels_and_text(check_sharing(shared, [*GATEWAYS, VALKEY]))
    assert levels == ["fail"]
    assert "does not reach Valkey: it does not answer in time" in text
    stack.answers["/readyz"] = (200, {"status": "ready"})
    assert levels_and_text(check_sharing(shared, [*GATEWAYS, VALKEY]))[0] == ["ok"]
