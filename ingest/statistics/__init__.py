"""Point-in-time statistics: sums of the past by key, in tiles of integers."""
