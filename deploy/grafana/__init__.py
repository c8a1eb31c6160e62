"""Grafana's dashboard and data source."""
