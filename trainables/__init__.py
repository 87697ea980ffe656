"""What one cell's training is. Imports neither study nor analysis."""
