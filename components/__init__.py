"""TFX components that TFX lacks: TFX's face of ingest, evaluation, report and serving."""
