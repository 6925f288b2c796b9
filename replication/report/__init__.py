"""Records and published numbers in; tables, figures and verdicts out. Imports without torch."""
