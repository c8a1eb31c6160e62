"""Which models there are: their names, their files and what the files say about them."""
