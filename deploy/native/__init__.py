"""The stack without Docker: engine (or your Ollama), gateway and nginx as supervised processes."""
