"""What schedules, starts and watches: settings, the command line, the supervisor and Dagster's definitions.

Nothing imports this package. How files are read and judged is `validation`'s; where PostgreSQL is, `warehouse`'s.
"""
