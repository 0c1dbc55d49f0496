"""Trees walked and changed: paths found, folders listed page by page, and edits that rewrite only what changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from xetway.errors import NotFoundError, RequestError
from xetway.hub.git import FILE_MODE, FOLDER_MODE, TreeEntry, scan_tree, sort_key
from xetway.hub.objects import get_object, get_tree, put_tree

# Bounds the memory of a `TreeReader`, some 200 bytes each.
_REMEMBERED_ENTRIES = 100_000
# Bounds the memory of a `TreeEditor`, and how long its trees are written under the write lock: seconds.
MAX_EDITED_FOLDERS = 200_000


def entry_not_found(path: str, commit: str | None = None) -> NotFoundError:
    """The error for a path that a revision does not have; `commit` lets clients remember that."""
    return NotFoundError(
        f"the revision has no '{path}'",
        code="entry_not_found",
        hub_code="EntryNotFound",
        headers=() if commit is None else (("x-repo-commit", commit),),
    )


class TreeReader:
    """Looks paths up in trees, remembering those it read: many paths share folders, and revisions share most trees."""

    def __init__(self, tx: sqlite3.Connection) -> None:
        self._tx = tx
        self._trees: dict[bytes, dict[bytes, tuple[bytes, bytes]]] = {}
        self._remembered = 0

    def folder(self, oid: bytes) -> dict[bytes, tuple[bytes, bytes]]:
        """Return the modes and ids in a tree by name, all as they stand there."""
        tree = self._trees.get(oid)
        if tree is None:
            records = scan_tree(get_object(self._tx, "tree", oid))
            tree = {name: (mode, entry) for mode, name, entry in records}
            while self._trees and self._remembered + len(tree) > _REMEMBERED_ENTRIES:
                self._remembered -= len(self._trees.pop(next(iter(self._trees))))
            self._trees[oid] = tree
            self._remembered += len(tree)
        return tree

    def find(self, root: bytes, path: str) -> TreeEntry | None:
        """Return what is at a path; None if nothing is. The empty path is the root itself."""
        entry = TreeEntry("", FOLDER_MODE, root)
        for part in path.split("/") if path else ():
            record = self.folder(entry.oid).get(part.encode()) if entry.is_folder else None
            if record is None:
                return None
            entry = TreeEntry(part, record[0].decode("ascii"), record[1])
        return entry


def find_entry(tx: sqlite3.Connection, root: bytes, path: str) -> TreeEntry | None:
    """Return what is at one path; None if nothing is."""
    return TreeReader(tx).find(root, path)


def walk(
    tx: sqlite3.Connection, tree: bytes, prefix: str = "", *, recursive: bool = True, after: str | None = None
) -> Iterator[tuple[str, TreeEntry]]:
    """List a tree in git's order, each folder before what is in it.

    Args:
        tx: The transaction to read in.
        tree: The tree's id.
        prefix: Its path with a slash at the end; empty for the root.
        recursive: Whether to go into folders.
        after: A path that a former listing ended with, relative to the tree; go on behind it without
            reading what comes before.
    """
    entries = get_tree(tx, tree)
    inside: str | None = None
    if after is not None:
        first, _, inside = after.partition("/")
        at = next((index for index, entry in enumerate(entries) if entry.name == first), None)
        if at is None:
            after_key = first.encode()
            entries = [entry for entry in entries if sort_key(entry) > after_key]
        else:
            entries = entries[at:]
    for index, entry in enumerate(entries):
        path = prefix + entry.name
        resumed = after is not None and index == 0 and entry.name == after.partition("/")[0]
        if not resumed:
            yield path, entry
        if recursive and entry.is_folder:
            yield from walk(tx, entry.oid, path + "/", after=(inside or None) if resumed else None)


class _Folder:
    """A folder being edited. A child is loaded when an edit needs it, and kept as it was otherwise."""

    __slots__ = ("changed", "children")

    def __init__(self, entries: list[TreeEntry]) -> None:
        self.children: dict[str, TreeEntry | _Folder] = {entry.name: entry for entry in entries}
        self.changed = False


class TreeEditor:
    """Edits a tree in memory; `write` stores the trees that changed. Edits apply in the order they come."""

    def __init__(self, tx: sqlite3.Connection, root: bytes) -> None:
        self._tx = tx
        self._root_oid = root
        self._folders = 0
        self._root = self._folder(get_tree(tx, root))

    def _folder(self, entries: list[TreeEntry]) -> _Folder:
        self._folders += 1
        if self._folders > MAX_EDITED_FOLDERS:
            raise RequestError(
                f"a commit changes files in at most {MAX_EDITED_FOLDERS} folders; make several", code="too_many_folders"
            )
        return _Folder(entries)

    def _child(self, folder: _Folder, name: str) -> TreeEntry | _Folder | None:
        child = folder.children.get(name)
        if isinstance(child, TreeEntry) and child.is_folder:
            child = folder.children[name] = self._folder(get_tree(self._tx, child.oid))
        return child

    def _parents(self, path: str) -> list[_Folder] | None:
        """The folders that lead to a path, or None if one of them is missing or a file."""
        folders = [self._root]
        for part in path.split("/")[:-1]:
            child = self._child(folders[-1], part)
            if not isinstance(child, _Folder):
                return None
            folders.append(child)
        return folders

    def put(self, path: str, oid: bytes) -> None:
        """Put a file at a path, over the one that is there.

        Raises:
            RequestError: `path_conflict` if there is a folder, or a file where a folder is needed;
                `too_many_folders`.
        """
        *parts, name = path.split("/")
        folders = [self._root]
        for part in parts:
            child = self._child(folders[-1], part)
            if child is None:
                child = folders[-1].children[part] = self._folder([])
            if not isinstance(child, _Folder):
                raise _conflict(path, "a part of it is a file")
            folders.append(child)
        present = folders[-1].children.get(name)
        if isinstance(present, _Folder) or (present is not None and present.is_folder):
            raise _conflict(path, "it is a folder")
        if present is None or present.oid != oid:
            folders[-1].children[name] = TreeEntry(name, FILE_MODE, oid)
            _mark(folders)

    def remove(self, path: str, *, folder: bool) -> None:
        """Remove a file or a folder with all that is in it; folders left empty vanish.

        Raises:
            NotFoundError: `entry_not_found` if there is none, or it is the other of the two.
        """
        folders = self._parents(path)
        name = path.rpartition("/")[2]
        child = None if folders is None else self._child(folders[-1], name)
        if folders is None or child is None or isinstance(child, _Folder) != folder:
            raise entry_not_found(path)
        _mark(folders)
        del folders[-1].children[name]
        parts = path.split("/")
        for depth in range(len(folders) - 1, 0, -1):
            if folders[depth].children:
                break
            del folders[depth - 1].children[parts[depth - 1]]

    def write(self) -> bytes:
        """Store the changed trees and return the root's id."""
        return self._write(self._root) if self._root.changed else self._root_oid

    def _write(self, folder: _Folder) -> bytes:
        entries = []
        for name, child in folder.children.items():
            if isinstance(child, _Folder):
                entries.append(TreeEntry(name, FOLDER_MODE, self._write(child)))
            else:
                entries.append(child)
        return put_tree(self._tx, entries)


def _mark(folders: list[_Folder]) -> None:
    for folder in folders:
        folder.changed = True


def _conflict(path: str, reason: str) -> RequestError:
    return RequestError(f"no file can be put at '{path}': {reason}", code="path_conflict")
