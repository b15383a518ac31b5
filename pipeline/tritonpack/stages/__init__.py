"""The verbs of a build: each turns declared artifacts into one artifact."""
