"""What the command `cnnlayers` does, a file per concern; `cli` is its front."""
