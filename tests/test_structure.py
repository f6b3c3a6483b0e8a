"""What may import what, and how many parameters a function has: read from the syntax trees."""

from __future__ import annotations

import ast
import graphlib
from collections import Counter, defaultdict

import pytest

from tests.syntax_trees import ROOT, functions, imports, modules, parameters, tree_of

LAYERS = (
    "mrcnn.architecture",
    "mrcnn.config",
    "mrcnn.weights",
    "mrcnn.network",
    "mrcnn.export",
    "mrcnn.engines",
    "mrcnn.coco",
    "mrcnn.training",
    "mrcnn.matterport",
    "mrcnn.utils  mrcnn.visualize",
    "mrcnn.model  mrcnn",
    "pipeline",
    "pipeline.settings  pipeline.threads",
    "pipeline.controls  pipeline.ledger",
    "pipeline.motion  pipeline.segmentation  pipeline.sources  pipeline.tracking",
    "pipeline.drawing",
    "pipeline.privacy",
    "pipeline.evaluation  pipeline.sinks",
    "pipeline.report  pipeline.web",
    "pipeline.runtime",
    "pipeline.batch",
    "pipeline.console",
    "pipeline.commands",
    "stream_segment",
)
"""A folder, or a file named here, imports from the lines above its own, and from itself. `pipeline` is every file that
lies directly in that folder and has no line of its own."""

USES_MRCNN = {"pipeline.batch", "pipeline.commands", "pipeline.evaluation", "pipeline.segmentation"}
"""The folders of `pipeline` that may import `mrcnn`; they do so when the network is needed."""

RANKS = {unit: rank for rank, line in enumerate(LAYERS) for unit in line.split()}


def unit_of(module):
    """The entry of LAYERS that a module belongs to."""
    top, *rest = module.split(".")
    own = ".".join([top, *rest[:1]])
    is_file_without_line = len(rest) == 1 and own not in RANKS and not is_package(own)
    unit = top if is_file_without_line else own
    assert unit in RANKS, f"{unit} has no line in LAYERS"
    return unit


def is_package(module):
    return any(other.startswith(f"{module}.") for other in modules())


def is_allowed(importing, imported):
    here, there = unit_of(importing), unit_of(imported)
    if there.startswith("mrcnn") and not here.startswith("mrcnn"):
        return here in USES_MRCNN
    return here == there or RANKS[there] < RANKS[here]


def graph():
    known = set(modules())
    return {name: imports(tree, known) - {name} for name, tree in modules().items()}


def test_imports_go_down_the_layers():
    wrong = {(name, other) for name, others in graph().items() for other in others if not is_allowed(name, other)}
    assert wrong == set()


@pytest.mark.parametrize(
    ("importing", "imported", "allowed"),
    [
        ("pipeline.runtime.stream", "pipeline.records", True),
        ("pipeline.records", "pipeline.runtime.stream", False),
        ("pipeline.sources.base", "pipeline.tracking.watch", False),
        ("pipeline.segmentation.mask_rcnn_segmenter", "mrcnn.engines.base", True),
        ("pipeline.drawing.overlay", "mrcnn.engines.base", False),
        ("mrcnn.engines.base", "pipeline.records", False),
        ("pipeline.commands.evaluate", "stream_segment", False),
    ],
)
def test_the_rule_itself(importing, imported, allowed):
    assert is_allowed(importing, imported) == allowed


ENGINES = sorted({path.stem for path in (ROOT / "mrcnn" / "engines").glob("*.py")} - {"__init__"})


@pytest.mark.parametrize("name", ENGINES)
def test_engines_load_their_frameworks_late(name):
    nodes = [node for node in modules()[f"mrcnn.engines.{name}"].body if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in nodes}
    frameworks = {"keras", "tensorflow", "jax", "torch", "openvino", "onnxruntime"}
    late = frameworks - {module.split(".")[0] for module in imported}
    assert late == frameworks - ({"keras"} if name == "keras_engine" else set())


def test_no_module_imports_itself_by_way_of_others():
    tuple(graphlib.TopologicalSorter(graph()).static_order())  # raises CycleError with the cycle


def test_nothing_but_tests_imports_tests():
    folders = ("pipeline", "mrcnn", "benchmarks", "tools", "examples")
    paths = [*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    tests = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in ROOT.glob("tests/**/*.py")}
    importing = {path.relative_to(ROOT).as_posix() for path in paths if imports(tree_of(path), tests)}
    assert importing == set()


IN_SEVERAL_FOLDERS = {"base", "factory", "images"}
"""Names of files that mean the same thing in each folder."""


def test_no_file_name_means_two_things():
    stems = Counter(name.rpartition(".")[2] for name in modules() if not is_package(name))
    twice = {stem for stem, count in stems.items() if count > 1}
    assert twice == IN_SEVERAL_FOLDERS


MOST_PARAMETERS = 7
OF_MATTERPORT = {
    "mrcnn.matterport.diagnostics.display_differences",
    "mrcnn.matterport.diagnostics.draw_boxes",
    "mrcnn.matterport.diagnostics.draw_rois",
    "mrcnn.matterport.display.display_instances",
    "mrcnn.matterport.metrics.compute_ap",
    "mrcnn.matterport.metrics.compute_ap_range",
    "mrcnn.matterport.metrics.compute_matches",
    "mrcnn.matterport.molding.resize",
    "mrcnn.matterport.mask_rcnn.MaskRCNN.train",
}
"""Their parameters are those of Matterport's package."""


def test_functions_have_few_parameters():
    many = {
        f"{module}.{name}"
        for module, tree in modules().items()
        for name, function in functions(tree)
        if len(parameters(function)) > MOST_PARAMETERS
    }
    assert many == OF_MATTERPORT


MOST_PASSING_ON = 2


def test_no_parameter_is_only_passed_on_through_more_than_two_functions():
    assert [chain for chain in chains_of(modules()) if len(chain) > MOST_PASSING_ON] == []


def chains_of(trees):
    """Functions that only hand a parameter on to each other, from the first to the last: ["a.f(x)", "b.g(y)", …].

    By names alone: `f(x)` is the function or class f of the same module, else the only one of the program, `self.f(x)`
    and `thing.f(x)` the method f likewise, `module.f(x)` the function f of a module of that name. A class is its
    `__init__`. A parameter is only handed on if each mention of it in the function is an argument of such a call.
    Matterport's functions do not count.
    """
    by_name = defaultdict(list)
    own = [
        (module, name, function)
        for module, tree in trees.items()
        for name, function in functions(tree)
        if f"{module}.{name}" not in OF_MATTERPORT
    ]
    for module, name, function in own:
        by_name[name.removesuffix(".__init__").rpartition(".")[2]].append((module, name, function))
    handed = {
        (module, name, parameter): handed_to(function, parameter, module, by_name)
        for module, name, function in own
        for parameter in parameters(function)
    }
    later = set().union(*handed.values())
    chains = [longest(key, handed) for key in handed if key not in later and handed[key]]
    return [[f"{module}.{name}({parameter})" for module, name, parameter in chain] for chain in chains]


def longest(key, handed, before=()):
    """The longest chain that begins with a parameter, without going in circles."""
    if key in before or not handed.get(key):
        return []
    return [key, *max((longest(other, handed, (*before, key)) for other in handed[key]), key=len)]


def handed_to(function, parameter, module, by_name):
    """The parameters (module, function, name) that one of a function's is handed to; none if it does more with it."""
    found, arguments = set(), set()
    for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
        for there, name, target in called_by(call, module, by_name):
            names = parameters(target)
            given = [*zip(names, call.args, strict=False), *((one.arg, one.value) for one in call.keywords)]
            for its_name, value in given:
                if is_name(value, parameter) and its_name in names:
                    arguments.add(value)
                    found.add((there, name, its_name))
    mentions = {node for node in ast.walk(function) if is_name(node, parameter)}
    return found if mentions <= arguments else set()


def called_by(call, module, by_name):
    """The function of ours that a call means, as a list of one or none."""
    if isinstance(call.func, ast.Name):
        candidates = [one for one in by_name[call.func.id] if "." not in one[1].removesuffix(".__init__")]
    elif isinstance(call.func, ast.Attribute):
        of = call.func.value.id if isinstance(call.func.value, ast.Name) else None
        candidates = [
            (there, name, target)
            for there, name, target in by_name[call.func.attr]
            if (there.rpartition(".")[2] == of if "." not in name else not name.endswith(".__init__"))
        ]
    else:
        candidates = []
    candidates = [one for one in candidates if one[0] == module] or candidates
    return candidates if len(candidates) == 1 else []


def is_name(node, name):
    return isinstance(node, ast.Name) and node.id == name


def test_a_chain_is_found():
    text = """
def first(a, b): return second(b, a)
def second(x, y): return n.third(x, value=y) + x
class Fourth:
    def __init__(self, w): self.w = w
    def method(self, p): return other.third(p, p)
"""
    other = """
def third(z, value): return (lambda: Fourth(value))()
"""
    found = chains_of({"m": ast.parse(text), "n": ast.parse(other)})
    assert found == [["m.first(a)", "m.second(y)", "n.third(value)"], ["m.first(b)"]]
