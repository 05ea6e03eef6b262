"""What goes to files and comes from them: nets and checkpoints, weights from PyTorch, nets as ONNX files."""
