"""`gateway pull`: has every model server pull the configured models."""
