"""The bottoms, a file each: from an example's features to what the routing reads."""
