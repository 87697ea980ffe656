"""What is kept: columns, rows, files, and who holds a study. Nothing here prints."""
