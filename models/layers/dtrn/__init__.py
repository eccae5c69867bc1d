"""DTRN: a representation of each task's own, from typed behaviour sequences (CIKM 2023, arXiv 2308.05996)."""
