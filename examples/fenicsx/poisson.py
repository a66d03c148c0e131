"""Poisson's equation on ever finer meshes of the unit square, against a solution that is known.

    stageline submit --watch -e fenicsx -s fenicsx/poisson.py --input stageline.py -p levels=6

The error must fall by four from mesh to mesh; the script fails if it does not. Runs with dolfinx 0.5 to 0.11, and
on several processes (`resources.cpus`).
"""

import math

import ufl
from dolfinx import fem, mesh
from dolfinx.fem import petsc
from mpi4py import MPI
from petsc4py import PETSc

import stageline

comm = MPI.COMM_WORLD
levels = int(stageline.params({"levels": 5})["levels"])


def lagrange(domain):
    # Renamed in 0.7.
    make = getattr(fem, "functionspace", None) or fem.FunctionSpace
    return make(domain, ("Lagrange", 1))


def vector(function):
    # Renamed in 0.9.
    return function.x.petsc_vec if hasattr(function.x, "petsc_vec") else function.vector


def solve(n):
    """The error in the mean square on n by n squares, the unknowns and the solver's iterations."""
    domain = mesh.create_unit_square(comm, n, n)
    space = lagrange(domain)
    x = ufl.SpatialCoordinate(domain)
    exact = ufl.sin(ufl.pi * x[0]) * ufl.sin(ufl.pi * x[1])
    u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
    left = fem.form(ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx)
    right = fem.form(2 * ufl.pi**2 * exact * v * ufl.dx)

    edge = domain.topology.dim - 1
    domain.topology.create_connectivity(edge, edge + 1)
    rim = fem.locate_dofs_topological(space, edge, mesh.exterior_facet_indices(domain.topology))
    cold = fem.dirichletbc(PETSc.ScalarType(0), rim, space)

    matrix = petsc.assemble_matrix(left, bcs=[cold])
    matrix.assemble()
    load = petsc.assemble_vector(right)
    petsc.apply_lifting(load, [left], bcs=[[cold]])
    load.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
    petsc.set_bc(load, [cold])

    found = fem.Function(space)
    solver = PETSc.KSP().create(comm)
    solver.setOperators(matrix)
    solver.setType("cg")
    solver.getPC().setType("jacobi")
    solver.setTolerances(rtol=1e-10)
    solver.solve(load, vector(found))
    found.x.scatter_forward()
    square = fem.assemble_scalar(fem.form((found - exact) ** 2 * ufl.dx))
    error = math.sqrt(comm.allreduce(square, op=MPI.SUM))
    return error, space.dofmap.index_map.size_global, solver.getIterationNumber()


errors = []
for level in stageline.track(range(levels), "Refine"):
    n = 8 * 2**level
    stageline.progress(message=f"{n} by {n} squares on {comm.size} processes")
    error, unknowns, iterations = solve(n)
    errors.append(error)
    stageline.progress(metrics={"error": error, "unknowns": unknowns, "iterations": iterations})

orders = [math.log2(coarse / fine) for coarse, fine in zip(errors, errors[1:])]
stageline.result({"error": errors[-1], "unknowns": unknowns, "orders": orders, "processes": comm.size})
if any(abs(order - 2) > 0.2 for order in orders):
    raise ArithmeticError(f"the error does not fall as it should: orders {orders}")
