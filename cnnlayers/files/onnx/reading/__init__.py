"""ONNX files as nets: the graph is read operator by operator, and comes out as layers that can be trained."""
