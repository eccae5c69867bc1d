"""What a trained ranker is served by: the signatures and their inputs."""
