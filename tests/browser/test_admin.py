"""Who may manage models does it on the page."""

import json
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.chat import Chat
from tests.browser.stacks import SERVER, Scripted
from tests.fakes.ollama import DONE, Do, Raw, line


def told(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


@pytest.fixture
def admin(guarded: Scripted, open_chat: Callable[[Scripted], Chat]) -> Chat:
    guarded.fake.pause()
    guarded.fake.answer("good", line("Hello"), DONE)
    chat = open_chat(guarded)
    chat.enter_key(guarded.keys["admin"])
    chat.one("#admin").click()
    return chat


def test_models_and_servers_are_listed(admin: Chat) -> None:
    expect(admin.one("#models")).to_contain_text("good")
    expect(admin.one("#servers")).to_contain_text(SERVER)
    assert Axe().run(admin.page).response["violations"] == []


def test_a_model_is_pulled_with_its_progress(admin: Chat, guarded: Scripted) -> None:
    layer = {"status": "pulling 0123", "digest": "sha256:0123", "total": 1000}
    guarded.fake.answer("new", told(**layer, completed=250), Do.WAIT, told(status="success"))
    admin.one("#pull-name").fill("new")
    admin.one("#pull-name").press("Enter")
    progress = admin.one("#pull-progress")
    expect(progress).to_have_js_property("position", 0.25)
    guarded.fake.go_on()
    expect(progress).to_be_hidden()
    expect(admin.one("#models")).to_contain_text("new")


def test_a_pull_that_fails_is_told_in_words(admin: Chat, guarded: Scripted) -> None:
    guarded.fake.answer("broken", told(error="pull model manifest: file does not exist"))
    admin.one("#pull-name").fill("broken")
    admin.one("#pull-name").press("Enter")
    expect(admin.one("#admin-said")).to_contain_text("file does not exist")


def test_a_model_is_deleted_once_that_is_confirmed(admin: Chat, guarded: Scripted) -> None:
    guarded.fake.answer("good", Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
    delete = admin.one("#models li").filter(has_text="good").get_by_role("button")
    admin.page.once("dialog", lambda dialog: dialog.dismiss())
    delete.click()
    assert deletions(guarded) == []
    admin.page.once("dialog", lambda dialog: dialog.accept())
    delete.click()
    expect(admin.one("#admin-said")).to_contain_text("deleted")
    assert deletions(guarded) == ["good"]


def deletions(stack: Scripted) -> list[str]:
    """The models that the model server was asked to delete."""
    return [json.loads(one.body)["model"] for one in stack.fake.received if one.method == "DELETE"]
