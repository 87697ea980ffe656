"""What is left to train, on which machines, and how long it takes. It starts nothing."""
