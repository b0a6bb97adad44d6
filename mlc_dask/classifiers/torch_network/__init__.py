"""What every PyTorch network shares: training, checkpoints, engines, and the gate of the fast ones."""
