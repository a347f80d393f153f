"""What others wrote to test such layers: the node tests of ONNX, torch's checks of gradients and operators."""
