"""External tests for such layers: the node tests of ONNX, torch's checks of gradients and operators."""
