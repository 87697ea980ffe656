"""What is left to train, on which machines, and how long it takes. Nothing here prints or starts anything."""
