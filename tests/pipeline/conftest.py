from tiny_logs import tiny, tiny_daily

__all__ = ["tiny", "tiny_daily"]
