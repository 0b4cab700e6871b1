"""The service: retrieval and generation over HTTP, and a page on the same server.

In: a project with an export and its index. Out: answers; it writes nothing into the project.
Needs the extra `serve`.
"""
