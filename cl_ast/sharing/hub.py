"""A task's folder on the Hugging Face hub, there and back.

What comes from the hub is a stranger's folder like any other: only the files of a task are fetched, their sizes are
looked at first, and `read` trusts none of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cl_ast.errors import RegistryError
from cl_ast.sharing.folder import ADAPTER, CONFIG, LARGEST, README, TASK

_FILES = (ADAPTER, CONFIG, TASK, README)


def push(folder: Path, repository: str, *, public: bool = False, endpoint: str | None = None) -> str:
    """Upload an exported folder as a model repository, made if need be, private unless `public`; returns its address.

    Raises:
        RegistryError: the hub cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, library_name="cl-ast")
    with _in_words(f"push to {repository}"):
        address = api.create_repo(repository, private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=repository, folder_path=folder, allow_patterns=list(_FILES), commit_message="A task of cl-ast"
        )
    return str(address)


def pull(repository: str, *, revision: str | None = None, endpoint: str | None = None) -> Path:
    """Download a repository's task into the hub's own cache; returns the folder, to be read like any other.

    Raises:
        RegistryError: the hub cannot be reached, or has no such task, or a file of it is too large.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, library_name="cl-ast")
    with _in_words(f"pull {repository}"):
        # The commit that was looked at is the one that is fetched.
        found = api.model_info(repository, revision=revision, files_metadata=True)
        sizes = {file.rfilename: file.size for file in found.siblings or [] if file.rfilename in _FILES}
        if not {ADAPTER, CONFIG} <= set(sizes):
            raise RegistryError(f"{repository} is no adapter: it lacks {CONFIG} or {ADAPTER}")
        if any(size is None or size > LARGEST for size in sizes.values()):
            raise RegistryError(f"{repository} has a file larger than the {LARGEST:,} bytes that a task may have")
        return Path(api.snapshot_download(repository, revision=found.sha, allow_patterns=sorted(sizes)))


@contextmanager
def _in_words(doing: str) -> Iterator[None]:
    from huggingface_hub import errors

    transport = errors.HTTPError  # type: ignore[attr-defined]  # of whichever client this release of the hub's library uses
    try:
        yield
    except errors.HfHubHTTPError as error:
        reason = _first_line(error)
        raise RegistryError(f"cannot {doing}: {reason}; is the name right, and `hf auth login` done?") from error
    except (errors.OfflineModeIsEnabled, ValueError) as error:  # a name that cannot be is a ValueError of some kind
        raise RegistryError(f"cannot {doing}: {_first_line(error)}") from error
    except (transport, OSError) as error:
        raise RegistryError(f"cannot {doing}: the hub cannot be reached ({_first_line(error)}); try again") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
