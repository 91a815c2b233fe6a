"""Training: the loop that yields Steps, the optimiser and its schedule, metrics, checkpoints, tracking."""
