"""ONNX: graphs of layers, written operator by operator, and torch's exporter for models that hold such layers."""
