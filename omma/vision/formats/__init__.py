"""One module per image format: what its header says, and its first frame's pixels."""
