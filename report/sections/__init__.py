"""The sections of a report, a file each: what a run left behind in, a section of the page out."""
