"""Handing a run on: which one is meant, the folder that holds it, its ONNX form."""
