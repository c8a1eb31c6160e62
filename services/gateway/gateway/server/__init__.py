"""All that touches the insides of uvicorn and gunicorn."""
