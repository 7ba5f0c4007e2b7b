"""Forward passes: logits, scores of pixels, gradients, and export to ONNX."""
