"""What the command `cnnlayers` does, a file per concern; `main` is its front."""
