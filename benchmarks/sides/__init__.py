"""The ways to compute: loops, plain NumPy, cnnlayers, PyTorch. `cases.Side` says what a side is."""
