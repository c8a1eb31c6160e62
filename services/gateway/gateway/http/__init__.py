"""Around every request: its path, its id, its record, the pages that may read its answer."""
