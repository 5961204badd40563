"""A progress bar on stdout, and none where there is no stdout."""

from typing import Any

import tqdm as tqdm_package


class tqdm(tqdm_package.tqdm):
    """``tqdm.tqdm`` on a given file; disabled where that is None, as stdout is under pythonw.

    Left to itself, tqdm would take stderr then, which may be None too.
    """

    def __init__(self, *args: Any, file: Any, disable: bool = False, **options: Any) -> None:
        super().__init__(*args, file=file, disable=disable or file is None, **options)
