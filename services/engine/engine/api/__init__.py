"""The HTTP APIs of Ollama, OpenAI and Anthropic, as Ollama serves them."""
