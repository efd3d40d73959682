"""The wall round the linear solver: rows and columns in, values and duals out; no fleet in here."""

from __future__ import annotations

from collections.abc import Mapping

from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]


class Linear:
    """A linear program to be maximised that grows column by column. Floats decide nothing: what
    they say is rounded, and proven anew in whole numbers.
    """

    def __init__(self) -> None:
        self._solver = pywraplp.Solver.CreateSolver("GLOP")
        # A presolved program cannot go on from its last basis when a column comes.
        self._solver.SetSolverSpecificParametersAsString("use_preprocessing: false")
        self._infinity = self._solver.infinity()
        self._rows: list[pywraplp.Constraint] = []
        self._columns: list[pywraplp.Variable] = []
        self._objective = self._solver.Objective()

    def at_most(self, bound: float) -> int:
        """A new row: the sum of its terms is at most so much."""
        self._rows.append(self._solver.Constraint(-self._infinity, float(bound)))
        return len(self._rows) - 1

    def at_least(self, bound: float) -> int:
        """A new row: the sum of its terms is at least so much."""
        self._rows.append(self._solver.Constraint(float(bound), self._infinity))
        return len(self._rows) - 1

    def column(self, terms: Mapping[int, float], value: float) -> int:
        """A new variable that is not negative, with its terms by row and its value."""
        column = self._solver.NumVar(0.0, self._infinity, "")
        self._columns.append(column)
        for row, weight in terms.items():
            self._rows[row].SetCoefficient(column, weight)
        self._objective.SetCoefficient(column, value)
        return len(self._columns) - 1

    def term(self, row: int, column: int, weight: float) -> None:
        """The weight of a variable in a row."""
        self._rows[row].SetCoefficient(self._columns[column], weight)

    def maximise(self, values: Mapping[int, float]) -> None:
        """Another objective, by variable."""
        self._objective.Clear()
        self._objective.SetMaximization()
        for column, value in values.items():
            self._objective.SetCoefficient(self._columns[column], value)

    def solve(self) -> float | None:
        """The value of the optimum; None when the solver found none."""
        if self._solver.Solve() != pywraplp.Solver.OPTIMAL:
            return None
        return float(self._objective.Value())

    def dual(self, row: int) -> float:
        """The price of a row in the last optimum."""
        return float(self._rows[row].dual_value())

    def value(self, column: int) -> float:
        """The value of a variable in the last optimum."""
        return float(self._columns[column].solution_value())
