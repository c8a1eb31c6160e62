"""JSON as Go reads and writes it: Ollama's clients see its rules and its error messages."""
