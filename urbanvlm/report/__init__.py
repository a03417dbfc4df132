"""The report of a run: one table of scores, plots, and a page that says how the numbers were made."""
