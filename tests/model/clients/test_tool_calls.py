"""Tool calls at the official clients, streamed and whole."""

from tests.fakes.ollama import DONE, FakeOllama, line
from tests.model.clients.answers import chat_chunk, compact, event, message_end, message_start
from tests.model.clients.libraries import Clients
from tests.model.clients.tools import ANTHROPIC_TOOL, TOOL

CALL = {"id": "call_7", "function": {"index": 0, "name": "weather", "arguments": {"city": "Paris"}}}

OPENAI_CALL = {
    "id": "call_7",
    "index": 0,
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
}


def test_ollamas_client_gets_tool_calls(faked: Clients, fake: FakeOllama) -> None:
    asked = line("", message={"role": "assistant", "content": "", "tool_calls": [CALL]})
    fake.answer("tools", asked, DONE)
    messages = [{"role": "user", "content": "Weather?"}]
    first, last = faked.ollama.chat("tools", messages, tools=[TOOL], stream=True)
    assert first.message.tool_calls
    assert first.message.tool_calls[0].function.arguments == {"city": "Paris"}
    assert last.done
    fake.answer("tools", asked.replace(b'"done":false', b'"done":true'))
    (call,) = faked.ollama.chat("tools", messages, tools=[TOOL]).message.tool_calls or []
    assert (call.function.name, call.function.arguments) == ("weather", {"city": "Paris"})


def test_openais_client_gets_tool_calls(faked: Clients, fake: FakeOllama) -> None:
    fake.answer("tools", chat_chunk(tool_calls=[OPENAI_CALL]), chat_chunk("tool_calls"), b"data: [DONE]\n\n")
    with faked.openai.chat.completions.stream(
        model="tools", messages=[{"role": "user", "content": "Weather?"}], tools=[TOOL]
    ) as stream:
        choice = stream.get_final_completion().choices[0]
    (call,) = choice.message.tool_calls or []
    assert (call.id, call.function.arguments) == ("call_7", '{"city":"Paris"}')
    assert choice.finish_reason == "tool_calls"
    message = {"role": "assistant", "content": "", "tool_calls": [OPENAI_CALL]}
    whole = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    fake.answer("tools", compact({"id": "chatcmpl-7", "model": "m", "choices": [whole]}))
    answer = faked.openai.chat.completions.create(
        model="tools", messages=[{"role": "user", "content": "Weather?"}], tools=[TOOL]
    )
    (same,) = answer.choices[0].message.tool_calls or []
    assert same.type == "function"
    assert (same.id, same.function.name) == ("call_7", "weather")


def test_anthropics_client_gets_tool_calls(faked: Clients, fake: FakeOllama) -> None:
    use = {"type": "tool_use", "id": "call_7", "name": "weather"}
    fake.answer(
        "tools",
        message_start(),
        event("content_block_start", index=0, content_block={**use, "input": {}}),
        event(
            "content_block_delta",
            index=0,
            delta={"type": "input_json_delta", "partial_json": '{"city":"Paris"}'},
        ),
        event("content_block_stop", index=0),
        message_end("tool_use"),
        event("message_stop"),
    )
    with faked.anthropic.messages.stream(
        model="tools",
        messages=[{"role": "user", "content": "Weather?"}],
        max_tokens=50,
        tools=[ANTHROPIC_TOOL],
    ) as stream:
        message = stream.get_final_message()
    assert message.content[0].type == "tool_use"
    assert (message.content[0].name, message.content[0].input) == ("weather", {"city": "Paris"})
    assert message.stop_reason == "tool_use"
