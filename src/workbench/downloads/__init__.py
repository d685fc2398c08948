"""Downloads: files of the hub into its client's cache, and checkouts from GitHub; what arrived is kept when one stops."""

from workbench.downloads.files import download
from workbench.downloads.repositories import Listing, NoConnection, RemoteFile, Repository, look_up

__all__ = ["Listing", "NoConnection", "RemoteFile", "Repository", "download", "look_up"]
