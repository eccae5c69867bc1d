"""What is trained: layers, the multi-task ranker that they make up, and the functions that TFX calls."""
