"""Studies of trainings that were made elsewhere: a table is read, checked and joined."""
