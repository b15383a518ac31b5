"""The settings with which a recipe serves the most while it keeps a service level objective, found by measuring.

A search proposes settings (`space`), a real server is started with each and loaded (`bench`, `measure`), the worse
half of them is given up early (`study`), and the best is measured against the recipe's own, in turns (`confirm`).
What holds is written as an overlay with its evidence (`evidence`) and drawn (`page`).
"""
