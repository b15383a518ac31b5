"""Write recipes/recipe.schema.json from the recipe's own models; a test keeps the two in step."""

import json
from pathlib import Path

from tritonpack.recipe import recipe_schema

SCHEMA = Path(__file__).resolve().parents[1] / "recipes" / "recipe.schema.json"

if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(recipe_schema(), indent=2) + "\n", encoding="utf-8")
