"""Every refusal and failure that a client can see, each with its HTTP status."""


class EngineError(Exception):
    status = 500

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if status is not None:
            self.status = status


class BadRequestError(EngineError):
    status = 400


class EmptyBodyError(BadRequestError):
    """The native API and the OpenAI and Anthropic ones word this differently."""

    def __init__(self) -> None:
        super().__init__("missing request body")


class TooLargeError(EngineError):
    """More bytes than the engine takes."""

    status = 413


class CloudDisabledError(EngineError):
    """What would need Ollama's own servers."""

    status = 403

    def __init__(self, what: str) -> None:
        super().__init__(f"ollama cloud is disabled: {what}")


class UnsupportedError(EngineError):
    """What Ollama has and the engine does not."""

    status = 501


class ModelNotFoundError(EngineError):
    status = 404

    def __init__(self, name: str) -> None:
        super().__init__(f"model '{name}' not found")


class NotPulledError(EngineError):
    """What Ollama says of an unknown model where embeddings are asked for."""

    status = 404

    def __init__(self, name: str) -> None:
        super().__init__(f'model "{name}" not found, try pulling it first')


class ContextOverflowError(BadRequestError):
    """In llama.cpp's words, which are what Ollama's clients see."""

    def __init__(self, tokens: int, num_ctx: int) -> None:
        super().__init__(
            f"request ({tokens} tokens) exceeds the available context size ({num_ctx} tokens), "
            "try increasing it"
        )


class InputTooLongError(BadRequestError):
    """The same of a text to be embedded, in Ollama's own words."""

    def __init__(self) -> None:
        super().__init__("the input length exceeds the context length")


class BusyError(EngineError):
    status = 503

    def __init__(self) -> None:
        super().__init__("server busy, please try again.  maximum pending requests exceeded")


class StoppingError(EngineError):
    """The time that running answers have at the engine's end is over."""

    status = 503

    def __init__(self) -> None:
        super().__init__("the engine is being stopped")


class LoadError(EngineError):
    """llama.cpp could not load the model."""


class RunnerDiedError(EngineError):
    """llama.cpp went away while it was needed."""

    def __init__(self) -> None:
        super().__init__("model runner has unexpectedly stopped")


class LlamaError(EngineError):
    """llama.cpp refused a request; `kind` is its own name for the reason."""

    def __init__(self, message: str, status: int, kind: str) -> None:
        super().__init__(message, status)
        self.kind = kind

    @property
    def is_context_overflow(self) -> bool:
        return self.kind == "exceed_context_size_error"
