"""Stages: plain functions, each of which reads some rooms of a project and writes exactly one."""
