"""How the embedded `nano` base and its scorer are made. Run from the repository root; it is not part of the installed package."""
