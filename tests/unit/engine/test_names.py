import pytest

from engine.models.names import name_of_file, parse_name


@pytest.mark.parametrize(
    "text",
    [
        "smollm2:135m",
        "SmolLM2:135M",
        "library/smollm2:135m",
        "registry.ollama.ai/library/smollm2:135m",
        "REGISTRY.ollama.ai/Library/smollm2:135m",
        "https://registry.ollama.ai/library/smollm2:135m",
        "smollm2:135m:local",
    ],
)
def test_all_spellings_of_a_name_are_one(text: str) -> None:
    name = parse_name(text)
    assert name is not None
    assert name.key == "registry.ollama.ai/library/smollm2:135m"


def test_the_tag_is_latest_if_there_is_none() -> None:
    name = parse_name("smollm2")
    assert name is not None
    assert name.short == "smollm2:latest"


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("a", "a:latest"),
        ("me/a:b", "me/a:b"),
        ("hf.co/me/a", "hf.co/me/a:latest"),
        ("localhost:5000/me/a", "localhost:5000/me/a:latest"),
        ("hf.co/library/a", "hf.co/library/a:latest"),
    ],
)
def test_the_short_form_leaves_out_what_is_understood(text: str, short: str) -> None:
    name = parse_name(text)
    assert name is not None
    assert name.short == short


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a:",
        "/a",
        "//a",
        "a b",
        "-a",
        "a:b/c",
        "n.s/a",
        "a/b/c/d",
        "a\n",
        "ä",
        "a" * 81,
        "a:" + "b" * 81,
    ],
)
def test_what_can_not_be_a_name_is_none(text: str) -> None:
    assert parse_name(text) is None


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("Foo-Bar.Q8_0", "foo-bar:q8_0"),
        ("Qwen2.5-0.5B-Instruct-Q4_K_M", "qwen2.5-0.5b-instruct:q4_k_m"),
        ("model-IQ4_XS", "model:iq4_xs"),
        ("model.BF16", "model:bf16"),
        ("model-UD-Q4_K_XL", "model:ud-q4_k_xl"),
        ("plain", "plain:latest"),
        ("with space (1)", "with-space-1:latest"),
        ("q8", "q8:latest"),
        ("big-Q4_0-00001-of-00003", "big:q4_0"),
    ],
)
def test_a_file_is_served_under_a_name_made_from_its_own(stem: str, name: str) -> None:
    assert name_of_file(stem) == name


@pytest.mark.parametrize("stem", ["big-Q4_0-00002-of-00003", "---", "ö"])
def test_files_that_no_name_can_be_made_from_have_none(stem: str) -> None:
    assert name_of_file(stem) is None


def test_the_name_of_a_file_can_be_asked_for() -> None:
    for stem in ("Foo-Bar.Q8_0", "with space (1)", "_x.f16"):
        text = name_of_file(stem)
        assert text is not None
        name = parse_name(text)
        assert name is not None
        assert name.short == text
