"""Metrics in Prometheus' format: counters, gauges that are sampled at each scrape, and access to the page."""
