"""A grid file: read, checked and turned into cells."""
