"""Turn records and published numbers into tables, figures and verdicts. Imports without torch."""
