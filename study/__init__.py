"""What to run, where, and what is kept."""
