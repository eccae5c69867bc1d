"""The online store of a spec: what ingest knows of users, items and keys, laid down for serving, and read as it was."""
