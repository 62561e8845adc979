"""The import of the bundle that the settings name, for the job that makes the first index of it."""

from functools import partial

from deployments.hands import open_engines
from deployments.records import Records
from omma.services.importing import BundleImport, ImportPorts
from omma.settings import Settings
from omma.stores.bundle_places import open_bundle


def open_import(settings: Settings, records: Records) -> BundleImport | None:
    """Over stores that are open already; None where no bundle is named."""
    indexes, work = settings.indexes, settings.work_dir
    if not indexes.bundle_url:
        return None
    ports = ImportPorts(
        open_bundle=partial(open_bundle, downloads=work / "downloads"),
        engines=open_engines(settings),
        files=records.snapshot_files,
        snapshots=records.snapshots,
        leases=records.rebuild_leases,
    )
    return BundleImport(ports, indexes.bundle_url, work=work, lease_s=indexes.lease_s)
