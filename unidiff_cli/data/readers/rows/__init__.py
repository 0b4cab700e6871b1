"""Files of tables, whatever their format: in comes a file, out come numbered rows of cells."""
