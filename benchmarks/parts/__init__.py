"""What the commands measure, one file a part: its sizes go in, named figures come out."""
