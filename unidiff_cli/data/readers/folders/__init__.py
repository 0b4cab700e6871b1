"""What a folder says without a table: classes, splits, products, and texts beside images."""
