"""Reports: one model of what there is to say, and a writer for each format.

`model` has the tables and figures, `building` makes them from runs, `paper` makes those of papers,
`published` reads the literature's numbers, `writing` writes a report's files.
"""
