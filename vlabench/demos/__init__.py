"""Demonstrations: made with an expert, kept in LIBERO's HDF5 layout, read by trainers."""

from vlabench.demos.collect import (
    Collection,
    Recorder,
    Recording,
    RecordingRunner,
    choose_cameras,
    prepare_collection,
)
from vlabench.demos.storage import Demo, Origin, demos_digest, read_demos, write_demo

__all__ = [
    "Collection",
    "Demo",
    "Origin",
    "Recorder",
    "Recording",
    "RecordingRunner",
    "choose_cameras",
    "demos_digest",
    "prepare_collection",
    "read_demos",
    "write_demo",
]
