"""Uploads a task's folder to the Hugging Face hub, and downloads one.

A downloaded folder is trusted no more than any other: only the files of a task are downloaded, their sizes are checked
before that, and `read` checks their contents.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cl_ast.errors import RegistryError
from cl_ast.sharing.folder import ADAPTER, CONFIG, LARGEST, README, SHARED, TASK
from cl_ast.wording import first_line

_FILES = (ADAPTER, CONFIG, TASK, SHARED, README)


def push(folder: Path, repository: str, *, public: bool = False, endpoint: str | None = None) -> str:
    """Upload an exported folder as a model repository, which is created if it does not exist; return its address.

    Args:
        public: whether anybody can read a repository that is created; otherwise it is private.

    Raises:
        RegistryError: the hub cannot be reached, or refuses the upload.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, library_name="cl-ast")
    with _hub_errors(f"push to {repository}"):
        address = api.create_repo(repository, private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=repository, folder_path=folder, allow_patterns=list(_FILES), commit_message="A task of cl-ast"
        )
    return str(address)


def pull(repository: str, *, revision: str | None = None, endpoint: str | None = None) -> Path:
    """Download a repository's task into the hub's own cache; return the folder, for `read`.

    Raises:
        RegistryError: the hub cannot be reached or has no such task, or a file is too large.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, library_name="cl-ast")
    with _hub_errors(f"pull {repository}"):
        # The download names the commit whose sizes were checked, in case the repository changes meanwhile.
        found = api.model_info(repository, revision=revision, files_metadata=True)
        sizes = {file.rfilename: file.size for file in found.siblings or [] if file.rfilename in _FILES}
        if not {ADAPTER, CONFIG} <= set(sizes):
            raise RegistryError(f"{repository} is no adapter: it lacks {CONFIG} or {ADAPTER}; check the name")
        if any(size is None or size > LARGEST for size in sizes.values()):
            raise RegistryError(f"{repository} has a file larger than the {LARGEST:,} bytes that a task may have")
        return Path(api.snapshot_download(repository, revision=found.sha, allow_patterns=sorted(sizes)))


@contextmanager
def _hub_errors(doing: str) -> Iterator[None]:
    """Turn the errors of the hub's library into RegistryErrors that say what could not be done."""
    from huggingface_hub import errors

    # The base error of the HTTP client, which differs between releases of the hub's library.
    transport = errors.HTTPError  # type: ignore[attr-defined]
    try:
        yield
    except errors.HfHubHTTPError as error:
        reason = first_line(error)
        raise RegistryError(f"cannot {doing}: {reason}; is the name right, and `hf auth login` done?") from error
    except (errors.OfflineModeIsEnabled, ValueError) as error:  # an invalid name raises a subclass of ValueError
        raise RegistryError(f"cannot {doing}: {first_line(error)}") from error
    except (transport, OSError) as error:
        raise RegistryError(f"cannot {doing}: the hub cannot be reached ({first_line(error)}); try again") from error
