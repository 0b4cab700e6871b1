"""The formats of exports: one file a format, each with one `Exporter` of the file's name."""
