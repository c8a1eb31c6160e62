"""The host of cloud models, and a prompt that must not reach it."""

CLOUD_HOST = "https://ollama.com:443"
MESSAGES = [{"role": "user", "content": "secret"}]
