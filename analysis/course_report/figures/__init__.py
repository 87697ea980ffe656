"""The figures of the course report."""
