"""Who may ask for what, and how often: keys, what they allow, limits, the audit. What is answered is not known here."""
