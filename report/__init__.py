"""What a run did and found: read from its metadata, as a page, and in the terminal."""

# The page in the folder of a report's artifact.
INDEX = "index.html"
