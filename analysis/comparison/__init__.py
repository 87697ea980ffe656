"""Two studies side by side: a study and its confirmation, and any two by their cells."""
