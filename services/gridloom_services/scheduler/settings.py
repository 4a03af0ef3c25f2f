"""What the scheduler may be told: `GRIDLOOM_SCHEDULER_...`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # the loader reads types at run time

from gridloom.values import dataclass

from gridloom_services.common.settings import bounded


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """Where the rows are, what the local machine offers, and how long history is kept."""

    # Empty: an SQLite file in the service's folder.
    database_url: str = ""
    # What this machine offers to jobs; None: what it has.
    cpus: float | None = bounded(None, least=0.001)
    memory_bytes: int | None = bounded(None, least=1)
    # Projects and queues with their quotas, brought about at each start: JSON, or the path of a
    # file with it; `declared.py` says what stands there.
    projects: str = ""
    # Nodes with devices (GPUs) are kept for those who ask for some, unless a job fits nowhere else.
    spare_devices: bool = True
    # Of each stream of a replica, the middle of what is longer is dropped.
    log_limit_bytes: int = bounded(256 << 20, least=1 << 16)
    # Events of jobs that ended earlier than this are let go.
    history_days: float = bounded(30.0, least=0)
    # Jobs that ended earlier than this are let go, with their logs and outputs ...
    keep_jobs_days: float = bounded(90.0, least=0)
    # ... and the oldest of those that are over, where there are more.
    keep_jobs: int = bounded(1_000_000, least=0)
    prune_every_s: float = bounded(300.0, least=0.01)
    # Entries of the audit log that are older are let go.
    audit_days: float = bounded(365.0, least=1)
    # Where jobs run: "local", processes of this machine; "kubernetes", pods of a cluster.
    runtime: str = bounded("local", choices=("local", "kubernetes"))
    # None: the cluster that this process is a pod of.
    kubernetes_kubeconfig: Path | None = None
    kubernetes_context: str = ""
    # Where the pods of jobs are; it is theirs alone.
    kubernetes_namespace: str = ""
    # The image with `gridloom` that stands beside every command, and runs those that name none.
    kubernetes_worker_image: str = ""
    # Repositories of images that have `gridloom` in them too, beyond the worker image's.
    kubernetes_own_images: tuple[str, ...] = ()
    kubernetes_pull_policy: str = bounded(
        "IfNotPresent", choices=("Always", "IfNotPresent", "Never")
    )
    kubernetes_pull_secrets: tuple[str, ...] = ()
    kubernetes_service_account: str = ""
    kubernetes_priority_class: str = ""
    kubernetes_run_as_user: int = bounded(65532, least=1)
    # "key=value" each, on everything that is made for a job.
    kubernetes_labels: tuple[str, ...] = ()
    # Kinds of nodes: {"a100": {"nodeSelector": {...}, "tolerations": [...]}}. Empty: every node.
    kubernetes_flavours: str = ""
    # A secret in that namespace whose `ca.crt` pods trust when they speak to the platform.
    kubernetes_ca_secret: str = ""
    # A ConfigMap in that namespace that owns all jobs' pods: they go when it does.
    kubernetes_anchor: str = ""
    # Commands may not use more processor time than they asked for.
    kubernetes_cpu_limits: bool = False
    # A gang of several pods has a NetworkPolicy that lets these speak with each other; without it
    # they can where nothing forbids it.
    kubernetes_network_policies: bool = False
    # How long outputs may take to be stored after the command has ended.
    kubernetes_storing_s: float = bounded(600.0, least=1)
    # How long a node may be silent before what runs there counts as lost.
    kubernetes_lost_node_s: float = bounded(30.0, least=1)
    # How long a pull that fails is tried again before the image counts as not found.
    kubernetes_image_patience_s: float = bounded(30.0, least=0)
    # How long a pod that finds no room waits before the job is planned anew.
    kubernetes_room_patience_s: float = bounded(30.0, least=0)
