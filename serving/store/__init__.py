"""Where what ingest would know of users, items and keys at this moment is kept for serving: a file a backend."""
