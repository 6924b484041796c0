"""The graph as a value: nodes, how they join, and the expressions they may hold."""

from kayrx.graph.expr import Expr, it
from kayrx.graph.graph import Graph, Sink
from kayrx.graph.node import Node, Resource, Site, resource

__all__ = ["Expr", "Graph", "Node", "Resource", "Sink", "Site", "it", "resource"]
