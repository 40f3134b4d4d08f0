"""OTP supervision: child specs, strategies, restart intensity, and the System at the root of the tree."""

from supervisors.backoff import Backoff
from supervisors.calls import (
    ChildCount,
    count_children,
    delete_child,
    get_child_spec,
    restart_child,
    start_child,
    terminate_child,
    which_children,
)
from supervisors.child import ChildInfo
from supervisors.child_spec import BRUTAL_KILL, INFINITY, ChildKind, ChildSpec, Restart
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.exceptions import (
    AlreadyPresentError,
    AlreadyStartedError,
    AmbiguousActorError,
    CannotRunError,
    ChildExistsError,
    ChildNotFoundError,
    ChildRestartingError,
    ChildRunningError,
    ConsoleError,
    SignificantChildError,
    SupervisorsError,
    SystemDownError,
    TooManyChildrenError,
    UnavailableError,
    UnknownActorError,
    UnsupportedCallError,
    WorkersDownError,
)
from supervisors.garbage import rare_collections
from supervisors.observer.commands import tree
from supervisors.restart import AutoShutdown, RestartIntensity, Strategy
from supervisors.supervisor import Supervisor
from supervisors.system import System
from supervisors.task_supervisor import TaskSupervisor
from supervisors.watchdog import Watchdog

__distribution__ = "ashtree"  # by which ashtree/shadows.py tells it from a package of the same name

__all__ = [
    "BRUTAL_KILL",
    "INFINITY",
    "AlreadyPresentError",
    "AlreadyStartedError",
    "AmbiguousActorError",
    "AutoShutdown",
    "Backoff",
    "CannotRunError",
    "ChildCount",
    "ChildExistsError",
    "ChildInfo",
    "ChildKind",
    "ChildNotFoundError",
    "ChildRestartingError",
    "ChildRunningError",
    "ChildSpec",
    "ConsoleError",
    "DynamicSupervisor",
    "Restart",
    "RestartIntensity",
    "SignificantChildError",
    "Strategy",
    "Supervisor",
    "SupervisorsError",
    "System",
    "SystemDownError",
    "TaskSupervisor",
    "TooManyChildrenError",
    "UnavailableError",
    "UnknownActorError",
    "UnsupportedCallError",
    "Watchdog",
    "WorkersDownError",
    "count_children",
    "delete_child",
    "get_child_spec",
    "rare_collections",
    "restart_child",
    "start_child",
    "terminate_child",
    "tree",
    "which_children",
]
