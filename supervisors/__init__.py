"""Who restarts whom: child specs, strategies, restart intensity, and the tree that all of it makes."""

from supervisors.child import ChildInfo
from supervisors.child_spec import BRUTAL_KILL, INFINITY, ChildSpec, Restart
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.exceptions import (
    ChildExistsError,
    ChildNotFoundError,
    SupervisorsError,
    SystemDownError,
    TooManyChildrenError,
)
from supervisors.observer import tree
from supervisors.restart import RestartIntensity, Strategy
from supervisors.supervisor import (
    ChildCount,
    Supervisor,
    count_children,
    start_child,
    terminate_child,
    which_children,
)
from supervisors.system import System

__all__ = [
    "BRUTAL_KILL",
    "INFINITY",
    "ChildCount",
    "ChildExistsError",
    "ChildInfo",
    "ChildNotFoundError",
    "ChildSpec",
    "DynamicSupervisor",
    "Restart",
    "RestartIntensity",
    "Strategy",
    "Supervisor",
    "SupervisorsError",
    "System",
    "SystemDownError",
    "TooManyChildrenError",
    "count_children",
    "start_child",
    "terminate_child",
    "tree",
    "which_children",
]
