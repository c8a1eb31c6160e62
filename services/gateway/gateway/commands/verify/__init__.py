"""`gateway verify`: a record of what runs here, and of checks that it streams."""
