"""How a ranker is trained: the loop and its step, reading, progress that outlives a kill, several workers."""
