"""Owns how failures of the API become what an agent reads: one line. It must not decide what fails."""

import contextlib
from collections.abc import Iterator
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, InputRequiredResult
from pydantic import ValidationError

from backbone.client import ApiError

Json = dict[str, Any]  # Any: a JSON object


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns what a tool may meet into a ToolError; the rest is a fault of ours and stays one."""
    try:
        yield
    except ApiError as error:
        raise ToolError(str(error)) from None
    except ValidationError as error:
        raise ToolError(_first_problem(error)) from None


class PlainServer(MCPServer[None]):
    """An MCPServer that also refuses unfit arguments in one line, where the library prints a report."""

    async def call_tool(
        self, name: str, arguments: Json, context: Context[None, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Calls a tool. Raises ToolError."""
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(_first_problem(error.__cause__)) from None
            raise


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = " ".join(first["msg"].removeprefix("Value error, ").split())
    return f"{where}: {message}" if where else message
