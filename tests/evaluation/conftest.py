from judged_rankers import columns, evaluate, examples, save_examples, save_model, simulate, spec

__all__ = ["columns", "evaluate", "examples", "save_examples", "save_model", "simulate", "spec"]
