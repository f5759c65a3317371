"""Where an export is written: a path that does not exist yet."""

from common.errors import UserError
from common.storage.paths import check_directory_writable, user_path
from common.storage.write_errors import user_error_on_os_error

OTHER_PLACE = "choose another place"


def require_vacant(path, folder):
    """The real path of what will be written, in its folder, which is made and tried: the conversion takes some seconds.

    Args:
        path: where.
        folder: whether it will be a folder, or a file.

    Raises:
        UserError: if there is something else than an empty one, or it cannot be written.
    """
    path = user_path(path)
    with user_error_on_os_error(path, OTHER_PLACE):
        path = path.resolve()
        empty = path.is_dir() and not any(path.iterdir()) if folder else path.is_file() and path.stat().st_size == 0
        if path.exists() and not empty:
            raise UserError(f"{path} exists; nothing is overwritten: choose another, or remove it first")
        check_directory_writable(path.parent)
    return path
