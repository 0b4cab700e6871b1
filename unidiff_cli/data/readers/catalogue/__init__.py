"""Which files of a folder are the catalogue, and what is not read."""
