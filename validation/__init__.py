"""Files to clean events, and judgements about them.

What reads, checks, cleans and loads files lives here. What schedules that work (Dagster) and what derives
numbers from the events (dbt) does not: this package imports neither.
"""
