"""A trained network as one ONNX graph, and the engines that run it: what `export` and `predict` share."""
