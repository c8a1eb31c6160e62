"""`gateway pull`: sees to it that Ollama has the models that are wanted."""
