"""Training of any model: many replicates of it as one batched computation."""
