"""What the columns of a table are: image, caption, product and split, and what is doubtful."""
