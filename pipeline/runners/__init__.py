"""Where the pipeline runs: on this machine, and on Kubeflow; where its Beam jobs run."""
