"""A call of an MPI function that is made later. A value, never changed."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Unpack

from gridloom.values import dataclass

if TYPE_CHECKING:
    from gridloom.mpi_jobs.function import MpiFunction
    from gridloom.mpi_jobs.future import MpiFuture
    from gridloom.mpi_jobs.options import MpiFunctionOptions


@dataclass(frozen=True)
class MpiSignature:
    """A function and all that it is called with, besides the communicator."""

    function: MpiFunction[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def options(self, **changes: Unpack[MpiFunctionOptions]) -> MpiSignature:
        """The same call with other options of its function."""
        return MpiSignature(self.function.options(**changes), self.args, self.kwargs)

    def submit(self) -> MpiFuture[Any]:
        """Run it on ranks of the platform."""
        return self.function.submit(*self.args, **self.kwargs)

    def __repr__(self) -> str:
        said = [repr(one) for one in self.args]
        said += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self.function.name}({', '.join(said)})"
