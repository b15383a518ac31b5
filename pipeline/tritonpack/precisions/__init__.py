"""ONNX to ONNX rewrites: one file a precision."""
