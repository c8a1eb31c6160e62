"""Each way to request an answer, streaming and whole."""

from collections.abc import AsyncGenerator, Generator

from tests.model.clients.libraries import AsyncClients, Clients, ResponseFailed

STORY = "Tell me a very long story."
BEGINNING = "Once upon a time"

GREEDY = {"temperature": 0}
"""The same words every time, so that an answer that is to be long is long."""

# Each way to request a streaming answer: an iterator over the text, in the pieces that the client yields.
Asked = Generator[str, None, None]
AsyncAsked = AsyncGenerator[str, None]


def ollama_chat(to: Clients, model: str, tokens: int) -> Asked:
    options = {"num_predict": tokens, "temperature": 0}
    for part in to.ollama.chat(model, [{"role": "user", "content": STORY}], stream=True, options=options):
        yield part.message.content or ""


def ollama_generate(to: Clients, model: str, tokens: int) -> Asked:
    options = {"num_predict": tokens, "temperature": 0}
    for part in to.ollama.generate(model, STORY, stream=True, options=options):
        yield part.response or ""


def openai_chat(to: Clients, model: str, tokens: int) -> Asked:
    with to.openai.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": STORY}],
        max_tokens=tokens,
        temperature=0,
        stream=True,
    ) as stream:
        for chunk in stream:
            yield chunk.choices[0].delta.content or ""


def openai_completion(to: Clients, model: str, tokens: int) -> Asked:
    with to.openai.completions.create(
        model=model, prompt=BEGINNING, max_tokens=tokens, temperature=0, stream=True
    ) as stream:
        for chunk in stream:
            yield chunk.choices[0].text


def openai_response(to: Clients, model: str, tokens: int) -> Asked:
    with to.openai.responses.create(
        model=model, input=STORY, max_output_tokens=tokens, temperature=0, stream=True
    ) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                yield event.delta
            elif event.type == "response.failed":
                raise ResponseFailed(event.response.error)


def anthropic_message(to: Clients, model: str, tokens: int) -> Asked:
    with to.anthropic.messages.stream(
        model=model, messages=[{"role": "user", "content": STORY}], max_tokens=tokens, extra_body=GREEDY
    ) as stream:
        yield from stream.text_stream


async def ollama_chat_async(to: AsyncClients, model: str, tokens: int) -> AsyncAsked:
    options = {"num_predict": tokens, "temperature": 0}
    messages = [{"role": "user", "content": STORY}]
    async for part in await to.ollama.chat(model, messages, stream=True, options=options):
        yield part.message.content or ""


async def ollama_generate_async(to: AsyncClients, model: str, tokens: int) -> AsyncAsked:
    options = {"num_predict": tokens, "temperature": 0}
    async for part in await to.ollama.generate(model, STORY, stream=True, options=options):
        yield part.response or ""


async def openai_chat_async(to: AsyncClients, model: str, tokens: int) -> AsyncAsked:
    async with await to.openai.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": STORY}],
        max_tokens=tokens,
        temperature=0,
        stream=True,
    ) as stream:
        async for chunk in stream:
            yield chunk.choices[0].delta.content or ""


async def openai_completion_async(to: AsyncClients, model: str, tokens: int) -> AsyncAsked:
    async with await to.openai.completions.create(
        model=model, prompt=BEGINNING, max_tokens=tokens, temperature=0, stream=True
    ) as stream:
        async for chunk in stream:
            yield chunk.choices[0].text


async def openai_response_async(to: AsyncClients, model: str, tokens: int) -> AsyncAsked:
    async with await to.openai.responses.create(
        model=model, input=STORY, max_output_tokens=tokens, temperature=0, stream=True
    ) as stream:
        async for event in stream:
            if event.type == "response.output_text.delta":
                yield event.delta
            elif event.type == "response.failed":
                raise ResponseFailed(event.response.error)


async def anthropic_message_async(to: AsyncClients, model: str, tokens: int) -> AsyncAsked:
    async with to.anthropic.messages.stream(
        model=model, messages=[{"role": "user", "content": STORY}], max_tokens=tokens, extra_body=GREEDY
    ) as stream:
        async for text in stream.text_stream:
            yield text


# The same requests, without streaming.


def whole_ollama_chat(to: Clients, model: str, tokens: int) -> object:
    options = {"num_predict": tokens, "temperature": 0}
    return to.ollama.chat(model, [{"role": "user", "content": STORY}], options=options)


def whole_ollama_generate(to: Clients, model: str, tokens: int) -> object:
    return to.ollama.generate(model, STORY, options={"num_predict": tokens, "temperature": 0})


def whole_openai_chat(to: Clients, model: str, tokens: int) -> object:
    return to.openai.chat.completions.create(
        model=model, messages=[{"role": "user", "content": STORY}], max_tokens=tokens, temperature=0
    )


def whole_openai_completion(to: Clients, model: str, tokens: int) -> object:
    return to.openai.completions.create(model=model, prompt=BEGINNING, max_tokens=tokens, temperature=0)


def whole_openai_response(to: Clients, model: str, tokens: int) -> object:
    return to.openai.responses.create(model=model, input=STORY, max_output_tokens=tokens, temperature=0)


def whole_anthropic_message(to: Clients, model: str, tokens: int) -> object:
    return to.anthropic.messages.create(
        model=model, messages=[{"role": "user", "content": STORY}], max_tokens=tokens, extra_body=GREEDY
    )


async def text_of(asked: AsyncAsked) -> str:
    return "".join([piece async for piece in asked])
