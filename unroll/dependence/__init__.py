"""Dependence analysis of the folded graph: who reads whom, strongly connected components, the order of loops."""
