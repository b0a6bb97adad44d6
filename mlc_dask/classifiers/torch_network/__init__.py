"""Code shared by all PyTorch networks: training, checkpoints, engines, and the gate of fast engines."""
