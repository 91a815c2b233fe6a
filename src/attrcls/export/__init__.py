"""A run's network written for other programs: one ONNX file, checked against torch on pictures."""
