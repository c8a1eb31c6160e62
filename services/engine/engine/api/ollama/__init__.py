"""Ollama's own API. The requests of the other APIs are converted into its requests, as Ollama does."""
