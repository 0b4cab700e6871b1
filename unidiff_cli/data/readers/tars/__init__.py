"""WebDataset tars: members, the key of a sample, and splits."""
