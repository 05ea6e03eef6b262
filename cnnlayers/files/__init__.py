"""What goes to files and comes from them: nets and checkpoints, and weights from PyTorch."""
