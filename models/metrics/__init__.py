"""Where EvalConfigs of earlier versions look for the metrics of `evaluation.tfma`."""
