"""Metrics in Prometheus' format: what is counted, what is looked up when somebody asks, and who may see it."""
