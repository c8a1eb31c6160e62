"""Every error that a client can see, each with its HTTP status."""


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
    """Ollama's own API and the OpenAI and Anthropic ones word this differently."""

    def __init__(self) -> None:
        super().__init__("missing request body")


class TooLargeError(EngineError):
    """The request body has more bytes than the engine accepts."""

    status = 413


class CloudDisabledError(EngineError):
    """The request needs Ollama's cloud."""

    status = 403

    def __init__(self, what: str) -> None:
        super().__init__(f"ollama cloud is disabled: {what}")


class UnsupportedError(EngineError):
    """Ollama can do this, the engine cannot."""

    status = 501


class ModelNotFoundError(EngineError):
    status = 404

    def __init__(self, name: str) -> None:
        super().__init__(f"model '{name}' not found")


class NotPulledError(EngineError):
    """Ollama's wording for an unknown model where embeddings are requested."""

    status = 404

    def __init__(self, name: str) -> None:
        super().__init__(f'model "{name}" not found, try pulling it first')


class ContextOverflowError(BadRequestError):
    """llama.cpp's wording, which Ollama passes on to its clients."""

    def __init__(self, tokens: int, num_ctx: int) -> None:
        super().__init__(
            f"request ({tokens} tokens) exceeds the available context size ({num_ctx} tokens), "
            "try increasing it"
        )


class InputTooLongError(BadRequestError):
    """A text to embed exceeds the context, in Ollama's wording."""

    def __init__(self, status: int | None = None) -> None:
        super().__init__("the input length exceeds the context length", status)


class BusyError(EngineError):
    status = 503

    def __init__(self) -> None:
        super().__init__("server busy, please try again.  maximum pending requests exceeded")


class StoppingError(EngineError):
    """The engine is shutting down and the grace period for running answers is over."""

    status = 503

    def __init__(self) -> None:
        super().__init__("the engine is being stopped")


class LoadError(EngineError):
    """llama.cpp could not load the model."""


class RunnerDiedError(EngineError):
    """The runner's process or its connection ended while a request needed it."""

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
