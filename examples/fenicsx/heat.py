"""A hot spot cools on a square with cold edges, by backward Euler steps.

    stageline submit --watch -e fenicsx -s fenicsx/heat.py --input stageline.py -p steps=60 -p squares=96

Runs with dolfinx 0.5 to 0.11, and on several processes (`resources.cpus`). What it saves every `save` steps is a
grid, so that another attempt can go on from it with another number of processes.
"""

import os

import numpy
import ufl
from dolfinx import fem, mesh
from dolfinx.fem import petsc
from mpi4py import MPI
from petsc4py import PETSc

import stageline

comm = MPI.COMM_WORLD
params = stageline.params({"steps": 60, "squares": 96, "seconds": 0.1, "save": 20})
steps, squares, save = int(params["steps"]), int(params["squares"]), int(params["save"])
dt = float(params["seconds"]) / steps

stageline.stage("Setup", message=f"{squares} by {squares} squares on {comm.size} processes, compiling forms")
domain = mesh.create_unit_square(comm, squares, squares)
# Renamed in 0.7.
space = (getattr(fem, "functionspace", None) or fem.FunctionSpace)(domain, ("Lagrange", 1))
old, new = fem.Function(space), fem.Function(space)
old.interpolate(lambda x: numpy.exp(-50 * ((x[0] - 0.5) ** 2 + (x[1] - 0.5) ** 2)))
edge = domain.topology.dim - 1
domain.topology.create_connectivity(edge, edge + 1)
rim = fem.locate_dofs_topological(space, edge, mesh.exterior_facet_indices(domain.topology))
cold = fem.dirichletbc(PETSc.ScalarType(0), rim, space)

u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
left = fem.form(u * v * ufl.dx + dt * ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx)
right = fem.form(old * v * ufl.dx)
heat = fem.form(old * ufl.dx)
matrix = petsc.assemble_matrix(left, bcs=[cold])
matrix.assemble()
solver = PETSc.KSP().create(comm)
solver.setOperators(matrix)
solver.setType("cg")
solver.getPC().setType("jacobi")
solver.setTolerances(rtol=1e-8)
# Renamed in 0.9.
unknowns = new.x.petsc_vec if hasattr(new.x, "petsc_vec") else new.vector


def warmth():
    return float(comm.allreduce(fem.assemble_scalar(heat), op=MPI.SUM).real)


# Where on the grid of the mesh's corners each unknown of this process lies; the last of them are its neighbours'.
corner = numpy.rint(space.tabulate_dof_coordinates()[:, :2] * squares).astype(int)
own = slice(space.dofmap.index_map.size_local)


def store(done):
    grid = numpy.zeros((squares + 1, squares + 1))
    grid[tuple(corner[own].T)] = old.x.array[own].real
    comm.Allreduce(MPI.IN_PLACE, grid, op=MPI.SUM)
    if comm.rank == 0:
        numpy.savez("new.npz", grid=grid, done=done, first=first)
        os.replace("new.npz", "state.npz")
    stageline.checkpoint("state.npz")


done, first = 0, warmth()
if stageline.resumed():
    with numpy.load("state.npz") as state:
        done, first = int(state["done"]), float(state["first"])
        old.x.array[:] = state["grid"][tuple(corner.T)]
last = warmth()
for step in stageline.track(range(done + 1, steps + 1), "Cool", done=done):
    load = petsc.assemble_vector(right)
    petsc.apply_lifting(load, [left], bcs=[[cold]])
    load.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
    petsc.set_bc(load, [cold])
    solver.solve(load, unknowns)
    new.x.scatter_forward()
    old.x.array[:] = new.x.array
    last = warmth()
    stageline.progress(
        message=f"t = {step * dt:.4f}",
        metrics={"heat": last, "residual": solver.getResidualNorm(), "iterations": solver.getIterationNumber()},
    )
    if step % save == 0:
        store(step)

if not 0 < last < first:
    raise ArithmeticError(f"the heat went from {first} to {last}")
found = space.dofmap.index_map.size_global
stageline.result({"steps": steps, "heat": last, "unknowns": found, "processes": comm.size, "resumedAt": done})
