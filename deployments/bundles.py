"""The import of the bundle that the settings name, for the job that makes the first index of it."""

import asyncio
from functools import partial

from deployments.hands import open_engines
from deployments.nightly import remote_task, result_of
from deployments.records import Records, open_blob_store, open_snapshot_files
from omma.domain.indexes import IndexStats
from omma.services.importing import BundleBuilding, BundleImport, ImportPorts, ImportTask
from omma.services.retention import Kept, Retention
from omma.settings import Settings
from omma.stores.bundle_places import open_bundle


def open_import(settings: Settings, records: Records) -> BundleImport | None:
    """Over stores that are open already; None where no bundle is named.

    It is read and built by a Ray task: what asks for it answers requests meanwhile.
    """
    indexes = settings.indexes
    if not indexes.bundle_url:
        return None
    build = partial(result_of, remote_task(build_bundle), settings)
    kept = Kept(
        records.snapshots,
        records.servings,
        records.snapshot_files,
        records.features,
        records.blobs,
        records.corrections,
    )
    retention = Retention(kept, keep=indexes.keep)
    ports = ImportPorts(build, records.snapshots, records.rebuild_leases, retention)
    return BundleImport(ports, indexes.bundle_url, lease_s=indexes.lease_s)


def build_bundle(settings: Settings, task: ImportTask) -> IndexStats:
    """Needs the blob store, and room in the work folder."""
    work = settings.work_dir
    reader = partial(open_bundle, downloads=work / "downloads")
    files = open_snapshot_files(settings, open_blob_store(settings))
    building = BundleBuilding(reader, open_engines(settings), files, work=work)
    return asyncio.run(building.build(task))
