"""Writes the JSON Schema of every record type beside the catalogue, when a field was added."""

import json
import sys
from pathlib import Path

from schemas.catalogue import record_types
from schemas.scenario import Scenario


def main() -> int:
    folder = Path(__file__).parent.parent / "schemas" / "catalogue"
    schemas = {name: each.schema() for name, each in record_types().items()}
    schemas["Scenario"] = Scenario.model_json_schema(by_alias=True)
    for name, schema in schemas.items():
        (folder / f"{name}.schema.json").write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n")
    print(f"{len(schemas)} schemas in {folder.relative_to(Path.cwd())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
