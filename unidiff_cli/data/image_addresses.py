"""Which image an address in a table's cell means, and whether it may be read.

An address is read where it lies below the catalogue. A web address is downloaded where the recipe
allows it (`prepare.allow_urls`, --allow-urls). All others cost their row.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cached_property
from pathlib import Path

from unidiff_cli import addresses
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.downloads import Downloads, WebImage
from unidiff_cli.data.locations import LocalPath, Location, locate
from unidiff_cli.data.remote import RemotePath
from unidiff_cli.data.sample import Reason
from unidiff_cli.data.web_client import WebProblem, target_of
from unidiff_cli.progress import Counter as OnProgress

# Hosts that are named.
NAMED = 3
NOT_ALLOWED = Reason("a web address: --allow-urls downloads it")
INLINE = Reason("an image written into the cell, which is not read")
OUTSIDE = Reason("an address that leads out of the catalogue")


class ImageAddresses:
    """The addresses in the cells of one catalogue.

    `web` are the web addresses of the latest pass, and how many rows name each.
    """

    def __init__(self, root: Location, options: Prepare) -> None:
        self.root, self.options = root, options
        self.web: Counter[str] = Counter()
        self.downloads: Downloads | None = None
        # Why addresses gave nothing.
        self.reasons: dict[str, Reason] = {}

    def begin_pass(self) -> None:
        self.web.clear()

    def locate(self, cell: str) -> Location | Reason:
        """The image that an address means, or why it means none that may be read."""
        scheme = addresses.scheme_of(cell)
        if scheme in addresses.WEB:
            return self._of_web(cell.strip())
        if scheme == "data":
            return INLINE
        if scheme in addresses.LOCAL:
            return self._of_file(cell)
        for base in self._bases:
            if isinstance(base, RemotePath) and (place := base.below(cell)):
                return place
        return OUTSIDE

    def doubts(self) -> list[Doubt]:
        """That rows name web addresses, where nobody said what is to become of them."""
        if not self.web or self.options.allow_urls:
            return []
        return [
            Doubt(
                f"{self.web.total():,} rows name their image by a web address ({self.hosts()}), "
                "which is not downloaded.",
                f"To download {len(self.web):,} images into the project's cache: --allow-urls",
            )
        ]

    def hosts(self) -> str:
        """The hosts of the web addresses, those of most rows first, for a person."""
        hosts: Counter[str] = Counter()
        for address, rows in self.web.items():
            try:
                hosts[target_of(address).shown_host] += rows
            except WebProblem:
                hosts["no valid address"] += rows
        named = [host for host, _ in hosts.most_common(NAMED)]
        return ", ".join(named) + (", …" if len(hosts) > NAMED else "")

    def fetch(self, downloads: Downloads, on_progress: OnProgress | None) -> None:
        """Downloads the images of the latest pass that are not there yet. Raises OSError."""
        self.downloads = downloads
        self.reasons = downloads.fetch(self.web, on_progress)

    def _of_web(self, address: str) -> Location | Reason:
        self.web[address] += 1
        if not self.options.allow_urls:
            return NOT_ALLOWED
        if address in self.reasons:
            return self.reasons[address]
        return self.downloads.image(address) if self.downloads else WebImage(address)

    def _of_file(self, address: str) -> Location | Reason:
        try:
            path = os.path.normpath(addresses.file_path(address))
        except ValueError as problem:
            return Reason(f"an address that cannot be read: {problem}")
        if "\0" in path:
            return Reason("a path with a NUL byte")
        for base in self._bases:
            if isinstance(base, LocalPath) and Path(path).is_relative_to(base.path):
                return base.child(os.path.relpath(path, base.path))
        return OUTSIDE

    @cached_property
    def _bases(self) -> list[Location]:
        """The folders whose images may be named by their whole addresses."""
        images_root = getattr(self.options, "images_root", None)
        if not images_root:
            return [self.root]
        if addresses.scheme_of(images_root) or os.path.isabs(images_root):
            return [self.root, locate(images_root, self.options.follow_links)]
        return [self.root, self.root.child(images_root)]
