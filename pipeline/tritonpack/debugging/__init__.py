"""Where two graphs first part: value by value (`compare`), and the smallest part that still fails (`reduce`)."""
