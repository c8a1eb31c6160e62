"""The embedded engine: Ollama's API over llama.cpp, for machines without Ollama."""
