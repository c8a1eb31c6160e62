"""`gateway pull`: has Ollama pull the configured models."""
