"""The networks and the data of the course report."""
