"""The graphs of models, node by node, and what decides a compute buffer."""
