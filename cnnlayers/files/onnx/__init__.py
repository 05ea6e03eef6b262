"""ONNX: nets in the file format that other runtimes read."""
