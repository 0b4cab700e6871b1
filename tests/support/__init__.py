"""What several tests share: a tiny base, a tiny catalogue, runs that are cut, batches by hand."""
