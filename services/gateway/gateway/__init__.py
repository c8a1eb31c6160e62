"""The gateway: streams Ollama's answers to clients as Server-Sent Events."""

__version__ = "0.1.0"
