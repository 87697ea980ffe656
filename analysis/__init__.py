"""What the results mean. Reads Parquet only: imports no torch, no ray, no trainables, no study."""
