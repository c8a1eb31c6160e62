"""What an operator runs beside the server: `gateway keys`, `gateway pull`, `gateway verify`."""
