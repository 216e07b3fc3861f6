"""The files of the page, which lie beside this module, and the path at which each is answered."""

from pathlib import Path
from types import MappingProxyType

FOLDER = Path(__file__).with_name("page_files")
TYPES = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
    }
)
"""The media type of a file, by the end of its name."""
_INDEX = "index.html"
_NAMES = sorted(file.name for file in FOLDER.iterdir() if file.suffix in TYPES)
PATHS = MappingProxyType({"/" if name == _INDEX else f"/page/{name}": name for name in _NAMES})
"""The name of the file at each path."""
