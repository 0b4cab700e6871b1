"""The kinds of index: one file a kind, each with one `Index` of the file's name."""
