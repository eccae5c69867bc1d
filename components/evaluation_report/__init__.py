"""The report of a run: one self-contained HTML file, and the TFX component that writes it."""

# The page in the folder of a report's artifact.
INDEX = "index.html"
