"""The assets, one module per layer: raw tables filled from files, models built by dbt."""
