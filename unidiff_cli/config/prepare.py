"""The keys of `prepare`: how a catalogue is read, checked, split and written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from unidiff_cli.config.values import (
    Count,
    Positive,
    Section,
    Seed,
    Share,
    SplitName,
)

# Characters that separate the columns of a table, by their names.
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}


class Columns(Section):
    """The columns of a table catalogue; null: chosen by name and content."""

    image: str | tuple[str, ...] | None = Field(
        None, description="the column of image paths, or several: [front, back]"
    )
    caption: str | tuple[str, ...] | None = Field(
        None, description="the column of captions, or several: [title, description]"
    )
    id: str | None = Field(None, description="the column of sample ids")
    product: str | None = Field(None, description="images of one product stay in one split")
    split: str | None = Field(None, description="train, val or test, used as given")

    def names(self, role: str) -> tuple[str, ...]:
        """The columns that are mapped to a role; none where it is not mapped, or to ''."""
        columns = getattr(self, role) or ()
        return (columns,) if isinstance(columns, str) else tuple(columns)


class Limits(Section):
    """What one item of a catalogue may cost; the catalogue of a shop stays far below."""

    image_bytes: Positive = Field(400 << 20, description="bytes of one image")
    image_scans: Positive = Field(100, description="scans of one JPEG; a progressive one has 10")
    image_seconds: Positive = Field(
        20, description="processor seconds to decode one image, whose process is ended then"
    )
    image_memory: Positive = Field(1536, description="MiB of memory to decode one image")
    text_bytes: Positive = Field(
        1 << 20, description="bytes of a caption file, and of a text or a .json in a tar"
    )
    captions: Positive = Field(1000, description="captions of one image")
    images: Positive = Field(1000, description="images of one row of a table")
    columns: Positive = Field(2000, description="columns of a table")
    row: Positive = Field(1 << 24, description="characters of one row of a table")
    depth: Annotated[int, Field(ge=1, le=100)] = Field(
        32, description="lists and objects inside one another in a cell"
    )
    json_bytes: Positive = Field(1 << 28, description="bytes of a .json table, read whole")
    inflation: Positive = Field(
        100, description="times its own size that a packed tar or a parquet may grow to"
    )
    caption: Positive = Field(20_000, description="characters of a caption, its markup read")
    url_seconds: Positive = Field(60, description="seconds to download one image")


class TableFile(Section):
    """How the rows of a table file are written; null: found, and shown."""

    separator: str | None = Field(
        None, description="comma, semicolon, tab, bar or another character between a CSV's columns"
    )
    quoting: Literal["doubled", "backslash", "none"] | None = Field(
        None, description='a quote inside quotes is "" (doubled) or \\"; none: quotes are letters'
    )
    header: bool | None = Field(
        None, description="false: the first line is a row; its columns are column 1, column 2, …"
    )
    sheet: str | None = Field(None, description="the sheet of an Excel file")
    rows: str | None = Field(None, description="where a .json has its rows, such as data.products")

    @field_validator("separator")
    @classmethod
    def _character(cls, value: str | None) -> str | None:
        if value is None:
            return None
        value = SEPARATORS.get(value, value)
        if len(value) != 1 or value in '"\\\r\n':
            raise ValueError(f"'{value}' is no character that separates columns")
        return value


class Prepare(Section):
    """Preparing a catalogue: reading, splitting, writing shards."""

    # Which files are the catalogue.
    reader: str = Field("auto", description="a reader's name, such as folder, table, webdataset")
    tables: tuple[str, ...] = Field(
        (), description="the tables of a folder, such as [train/metadata.csv]; empty: found"
    )
    follow_links: bool = Field(
        False, description="read what links name outside the catalogue too; else they are refused"
    )
    allow_urls: bool = Field(
        False, description="download images that a table names by http(s) addresses"
    )
    # How they are written, and what their rows mean.
    encoding: str | None = Field(
        None, description="letters of tables and texts, such as cp1252; null: found, and shown"
    )
    table: TableFile = TableFile()
    columns: Columns = Columns()
    where: dict[str, str] = Field(
        {}, description="keep only rows with these column values, such as {view: main}"
    )
    split_words: dict[str, SplitName] = Field(
        {}, description="words of the split column, such as {holdout: test}"
    )
    caption: str | None = Field(
        None,
        description='a template over columns, such as "{name} in {color?}"; ?: it may be empty',
    )
    captions: Literal["all", "first"] = Field(
        "all", description="of several caption columns, all that are filled or the first"
    )
    # Where the images of a row lie.
    images: Literal["all", "first"] = Field(
        "all", description="of several images in a row of a table, all or the first"
    )
    images_root: str | None = Field(
        None, description="the folder that image paths of a table start from; null: found"
    )
    spelling: Literal["exact", "loose"] | None = Field(
        None,
        description="loose: img_1.jpg in a table may mean IMG_1.JPG; null: asked for where it does",
    )
    # Folders and tars.
    sidecar: Literal["lines", "text"] | None = Field(
        None,
        description="a text beside an image: a caption a line, or one; null: found, else asked for",
    )
    sidecar_ending: Literal["txt", "caption", "tags", "json"] | None = Field(
        None, description="the texts that are captions where an image has several; null: .txt first"
    )
    companions: Literal["leave_out", "keep"] | None = Field(
        None,
        description="masks and thumbnails beside images; null: left out, asked for where in doubt",
    )
    tar_keys: Literal["first", "last"] | None = Field(
        None,
        description="the dot that ends a key in a tar; null: the first, asked for where in doubt",
    )
    folders: Literal["classes", "products"] | None = Field(
        None,
        description="what a folder of images is; null: found by its name, asked for where in doubt",
    )
    # Images.
    max_side: Annotated[int, Field(ge=16, le=8192)] = Field(
        1024, description="larger images are scaled down to this side, in pixels"
    )
    max_pixels: Positive = Field(
        100_000_000, description="images with more pixels are quarantined undecoded"
    )
    background: str = Field(
        "white", description="the colour behind transparent images: a name, or '#rrggbb'"
    )
    min_side: Annotated[int, Field(ge=1, le=8192)] = Field(
        32, description="images whose shorter side has fewer pixels are left out; 1: none"
    )
    max_aspect: Annotated[float, Field(ge=0)] = Field(
        20, description="images whose sides differ by a larger factor are left out; 0: none"
    )
    masks: Literal["leave_out", "keep"] | None = Field(
        None,
        description="images of two greys among coloured ones; null: kept, and asked for where many",
    )
    placeholder: Count = Field(
        5,
        description="rows with unlike captions that make their one image a 'no image' file; "
        "0: none",
    )
    # What goes into the shards.
    max_bad: Share = Field(0.05, description="the share of bad rows above which prepare fails")
    dedupe: Literal["group", "keep", "drop"] = Field(
        "group",
        description="equal and near-equal images: group: in one split, keep: as if unlike, "
        "drop: one stays",
    )
    near_duplicates: Annotated[int, Field(ge=0, le=16)] = Field(
        10, description="perceptual-hash bits of 256 that duplicates may differ in; 0: off"
    )
    splits: tuple[Share, Share, Share] = Field(
        (0.8, 0.1, 0.1), description="shares of train, val and test; groups stay whole"
    )
    seed: Seed = Field(0, description="seed of the splits and of the order in the shards")
    shard_size: Positive = Field(1000, description="samples per tar file")
    # What it may cost.
    workers: Count = Field(0, description="decoding processes; 0: one per core")
    limits: Limits = Limits()

    @field_validator("placeholder")
    @classmethod
    def _several(cls, value: int) -> int:
        if value == 1:
            raise ValueError("every image has one row; 2 is the least, and 0 turns it off")
        return value

    @field_validator("background")
    @classmethod
    def _colour(cls, value: str) -> str:
        # The default needs no Pillow.
        if value != "white":
            from PIL import ImageColor

            if len(ImageColor.getrgb(value)) != 3:
                raise ValueError(f"'{value}' lets light through: give #rrggbb")
        return value

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                "".encode(value)
        except (LookupError, ValueError):
            raise ValueError(f"'{value}' is no encoding that Python knows") from None
        return value

    @field_validator("splits")
    @classmethod
    def _whole(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(value) - 1) > 1e-6:
            raise ValueError(f"the three shares add up to {sum(value):g}, not 1")
        return value
