"""The query of a request, read by a model of pydantic. FastAPI's own reading of it takes a sixth of a short request."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from cl_ast.serving.refusals import Refusal

M = TypeVar("M", bound=BaseModel)


def query_of(request: Request, model: type[M]) -> M:
    """Return the query of a request; names that the model does not know are ignored. Raises Refusal."""
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Refusal("invalid", f"{where}: {first['msg']}") from None


def parameters_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return what the schema says of an endpoint with that query."""
    found = model.model_json_schema()
    required = found.get("required", ())
    parameters = [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": schema.pop("description", ""),
            "schema": schema,
        }
        for name, schema in found["properties"].items()
    ]
    return {"parameters": parameters}
