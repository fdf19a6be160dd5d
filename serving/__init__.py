"""Footfall for people and programs with a browser: pages and files over HTTP. Reads; knows no Dagster and no pandas."""
